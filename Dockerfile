# sepjax in a container, from its wheel (docs/install.md).
#
#   docker build -t sepjax .
#   docker build -t sepjax:cuda --build-arg EXTRA=cuda .   # host: driver, nvidia-container-toolkit
#   docker build -t sepjax:tpu --build-arg EXTRA=tpu .     # on a TPU VM; run with --privileged
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" sepjax separate song.mp3

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:${PYTHON}-slim
# cuda, tpu, or more of [project.optional-dependencies], with commas between.
ARG EXTRA=""
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-cache-dir -c /constraints.txt "$(echo /dist/*.whl)${EXTRA:+[$EXTRA]}"
# Whoever runs it may write what is kept between two uses; a volume keeps it longer.
ENV SEPJAX_CACHE=/cache MPLCONFIGDIR=/cache/matplotlib
RUN mkdir -m 1777 /cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["sepjax"]
CMD ["--help"]
