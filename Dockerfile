# docs/operations.md says how to run it with BPF.
FROM rust:1-trixie AS build
WORKDIR /src
COPY . .
RUN cargo xtask setup && cargo xtask build && strip target/release/xdp-tracker

FROM debian:trixie-slim
# The certificates of authorities: for key sets, services and Redis over TLS.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /run/xdp-tracker /var/lib/xdp-tracker
COPY --from=build /src/target/release/xdp-tracker /usr/bin/xdp-tracker
COPY packaging/xdp-tracker.yaml /etc/xdp-tracker.yaml
VOLUME /var/lib/xdp-tracker
EXPOSE 6969/udp 6969/tcp
# A start that adopts a large table or reads a large snapshot takes its time.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m \
    CMD ["/usr/bin/xdp-tracker", "status", "--config", "/etc/xdp-tracker.yaml"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/xdp-tracker", "--config", "/etc/xdp-tracker.yaml"]
