# syntax=docker/dockerfile:1
# xrt for machines without a GPU. Build from the repository's root:
#   docker build -f docker/cpu.Dockerfile -t xrt:cpu --build-arg TORCH_INDEX=... .
# TORCH_INDEX is the address of PyTorch's index of CPU builds, as its installation page gives it. Left empty,
# pip takes torch from its usual index, which on Linux is the far larger CUDA build.

FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
RUN python -m venv /opt/xrt
WORKDIR /src
COPY scripts/constraints.txt ./
RUN torch="$(grep '^torch==' constraints.txt)" \
    && /opt/xrt/bin/pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"
COPY pyproject.toml README.md LICENSE ./
COPY conf ./conf
COPY xrt ./xrt
RUN /opt/xrt/bin/pip install --constraint constraints.txt ".[minilm]" \
    && /opt/xrt/bin/pip uninstall --yes pip \
    && find /opt/xrt -type d -name tests -path '*/site-packages/*/tests' -prune -exec rm -rf {} +

FROM python:3.11-slim-bookworm AS final
LABEL org.opencontainers.image.title="xrt" \
      org.opencontainers.image.description="XR-Transformer: tags text with the right few labels out of thousands to millions (CPU)" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin xrt
COPY --from=build /opt/xrt /opt/xrt
ENV PATH="/opt/xrt/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/home/xrt/.cache/numba \
    HF_HUB_OFFLINE=1
USER 10001
WORKDIR /home/xrt
ENTRYPOINT ["xrt"]
CMD ["--help"]
