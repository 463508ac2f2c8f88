# syntax=docker/dockerfile:1
# `xrt serve` for machines without a GPU. Build from the repository's root:
#   docker build -f docker/serve.Dockerfile -t xrt:serve --build-arg TORCH_INDEX=... .
# TORCH_INDEX: see cpu.Dockerfile. CPU is what kernels are compiled for, so that those in the image fit the machine
# they run on: x86-64-v3 has AVX2 (2013 and later); take `generic` for others, such as arm64.

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
RUN /opt/xrt/bin/pip install --constraint constraints.txt ".[minilm,serve]" \
    && /opt/xrt/bin/pip uninstall --yes pip \
    && find /opt/xrt -type d -name tests -path '*/site-packages/*/tests' -prune -exec rm -rf {} +

FROM python:3.11-slim-bookworm AS final
ARG CPU=x86-64-v3
LABEL org.opencontainers.image.title="xrt serve" \
      org.opencontainers.image.description="XR-Transformer behind HTTP: tags text with the right few labels out of thousands to millions (CPU)" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin xrt
COPY --from=build /opt/xrt /opt/xrt
COPY --chmod=755 docker/serve-entrypoint docker/compile-kernels /usr/local/bin/
ENV PATH="/opt/xrt/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    NUMBA_CPU_NAME="$CPU" \
    NUMBA_CPU_FEATURES="" \
    XRT_KERNELS=/opt/kernels
# The kernels that a server needs, compiled once and kept in the image
RUN compile-kernels "$XRT_KERNELS"
USER 10001
WORKDIR /models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["serve-entrypoint"]
CMD ["/models/model", "--host", "0.0.0.0", "--port", "8000"]
