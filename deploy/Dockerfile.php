# pushd and PHP's command line, for programs of Workerman, Ratchet and Swoole:
#   docker build -f deploy/Dockerfile.php -t pushd-php .
#   docker run --rm -p 2346:2346 -v ./:/app:ro pushd-php start.php start
# Extensions that a program needs are added like in any image of PHP's:
#   FROM pushd-php … RUN apt-get update && apt-get install -y php-mysql
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN make build

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends php-cli \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /app /data /run/pushd && chown 65532:65532 /data /run/pushd
COPY --from=build /src/bin/pushd /usr/local/bin/pushctl
# Defaults, which PUSHD_* variables count before.
ENV STATE_DIRECTORY=/data RUNTIME_DIRECTORY=/run/pushd
USER 65532:65532
WORKDIR /app
VOLUME /data
EXPOSE 2346
# As process 1 it logs to stdout. TERM stops it over `drain`, HUP reloads.
ENTRYPOINT ["/usr/local/bin/pushctl", "php"]
CMD ["start.php", "start"]
