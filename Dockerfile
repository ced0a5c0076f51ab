# docker build -t nas .                                        for processors
# docker build -t nas --build-arg TORCH=cu130 .                for NVIDIA GPUs; run it with --gpus all
# docker run --rm --shm-size 2g -v "$PWD/runs:/runs" nas search --space residual_vs_fractal
FROM python:3.11-slim
ARG TORCH=cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md constraints.txt ./
COPY nas nas
COPY search_spaces search_spaces
RUN torch=$(sed -n 's/^torch==//p' constraints.txt) \
 && pip install --no-cache-dir "torch==$torch" --index-url "https://download.pytorch.org/whl/$TORCH" \
 && grep -v '^torch==' constraints.txt > /tmp/constraints.txt \
 && pip install --no-cache-dir -c /tmp/constraints.txt . \
 && rm -rf /src
# Ray wants shared memory (--shm-size); runs are written to the folder that is mounted.
RUN useradd --create-home nas && install -d -o nas /runs
USER nas
WORKDIR /runs
ENTRYPOINT ["nas"]
CMD ["--help"]
