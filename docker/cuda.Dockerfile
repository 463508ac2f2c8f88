# syntax=docker/dockerfile:1
# xrt for machines with NVIDIA GPUs. Build from the repository's root:
#   docker build -f docker/cuda.Dockerfile -t xrt:cuda .
# torch's wheels bring their own CUDA libraries, so the smallest CUDA image, `base`, is enough.

FROM nvidia/cuda:12.8.1-base-ubuntu24.04 AS python
# The distribution's Python 3.12 gets its security fixes from the distribution: no version pins.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/xrt
WORKDIR /src
COPY scripts/constraints.txt ./
RUN torch="$(grep '^torch==' constraints.txt)" \
    && /opt/xrt/bin/pip install --constraint constraints.txt "$torch"
COPY pyproject.toml README.md LICENSE ./
COPY conf ./conf
COPY xrt ./xrt
RUN /opt/xrt/bin/pip install --constraint constraints.txt ".[minilm]" \
    && /opt/xrt/bin/pip uninstall --yes pip \
    && find /opt/xrt -type d -name tests -path '*/site-packages/*/tests' -prune -exec rm -rf {} +

FROM python AS final
LABEL org.opencontainers.image.title="xrt" \
      org.opencontainers.image.description="XR-Transformer: tags text with the right few labels out of thousands to millions (CUDA)" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin xrt
COPY --from=build /opt/xrt /opt/xrt
ENV PATH="/opt/xrt/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/home/xrt/.cache/numba \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HF_HUB_OFFLINE=1
USER 10001
WORKDIR /home/xrt
ENTRYPOINT ["xrt"]
CMD ["--help"]
