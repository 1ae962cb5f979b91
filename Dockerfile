# stemsplit in a container, as a user without rights. The weights that ship are inside; others go to /cache.
#
#   docker build -t stemsplit .                                       CPU
#   docker build -t stemsplit:cuda --build-arg TORCH=cu130 .          NVIDIA GPUs: a folder of download.pytorch.org/whl
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/music" stemsplit separate song.mp3
#
# Audio is decoded by libraries that come in wheels, so there is no ffmpeg here.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH=cpu
ARG EXTRAS=plot
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/stemsplit
ENV PATH=/opt/stemsplit/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/${TORCH}
WORKDIR /source
# PyTorch first, by itself: its layer is used again as long as its version stays.
COPY constraints.txt ./
RUN pip install torch --constraint constraints.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src ./src
COPY models ./models
RUN pip install ".[${EXTRAS}]" --constraint constraints.txt \
    && stemsplit --version

FROM python:${PYTHON}-slim
ARG TORCH=cpu
LABEL org.opencontainers.image.title="stemsplit" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# Triton compiles what starts its kernels.
RUN if [ "$TORCH" != cpu ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends gcc libc6-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /opt/stemsplit /opt/stemsplit
# Any user may be named by --user, so the folders are open to all; HOME is for what libraries keep.
RUN useradd --create-home stemsplit && mkdir -p /cache /music && chmod 1777 /cache /music
ENV PATH=/opt/stemsplit/bin:$PATH HOME=/cache STEMSPLIT_CACHE=/cache PYTHONUNBUFFERED=1
VOLUME /cache
WORKDIR /music
USER stemsplit
ENTRYPOINT ["stemsplit"]
CMD ["--help"]
