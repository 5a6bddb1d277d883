# What must be there before anything is built or tested: looked for, and installed where that is possible. Targets:
#
#   check-tools      Rust and Go
#   check-ip         ip and unshare
#   check-node       Node.js and npm
#   system-packages  the distribution's packages: installed as root on Debian, named elsewhere

.PHONY: check-tools check-ip check-node system-packages

# The end of a recipe that has put the names of packages into $$missing.
define install-missing
[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else \
		echo "missing packages:$$missing; install them, for example: apt-get install$$missing" >&2; exit 1; \
	fi
endef

check-tools:
	@command -v cargo >/dev/null || { echo "Rust is missing: install it from https://rustup.rs" >&2; exit 1; }
	@command -v go >/dev/null || { echo "Go 1.26.6 or newer is missing: install it from https://go.dev/dl" >&2; exit 1; }

check-ip:
	@command -v ip >/dev/null || { echo "ip is missing: apt-get install iproute2" >&2; exit 1; }
	@command -v unshare >/dev/null || { echo "unshare is missing: apt-get install util-linux" >&2; exit 1; }

# Debian 12's own is too old for undici.
check-node:
	@{ node -e 'const [a, b, c] = process.versions.node.split("."); process.exit((a - 20 || b - 19 || c - 2) < 0 ? 1 : 0)' \
		&& command -v npm; } >/dev/null 2>&1 \
		|| { echo "Node.js 20.19.2 or newer with npm is missing: install it from https://nodejs.org" >&2; exit 1; }

# Debian and its kin: installed when missing. Elsewhere, or without root, it says what is missing.
system-packages:
	@missing=; command -v ip >/dev/null || missing="$$missing iproute2"; \
	command -v unshare >/dev/null || missing="$$missing util-linux"; \
	command -v nsenter >/dev/null || missing="$$missing util-linux"; \
	command -v nft >/dev/null || [ -x /usr/sbin/nft ] || missing="$$missing nftables"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v python3 >/dev/null || missing="$$missing python3"; \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	command -v javac >/dev/null || missing="$$missing default-jdk-headless"; \
	command -v ssh >/dev/null || missing="$$missing openssh-client"; \
	[ -x /usr/sbin/sshd ] || missing="$$missing openssh-server"; \
	nc -h 2>&1 | grep -q OpenBSD || missing="$$missing netcat-openbsd"; \
	command -v dig >/dev/null || missing="$$missing bind9-dnsutils"; \
	[ -x /usr/sbin/dnsmasq ] || missing="$$missing dnsmasq-base"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v pip3 >/dev/null || missing="$$missing python3-pip"; \
	[ -x /usr/sbin/dockerd ] || missing="$$missing docker.io"; \
	[ -x /usr/bin/containerd ] || missing="$$missing containerd"; \
	command -v runc >/dev/null || [ -x /usr/sbin/runc ] || missing="$$missing runc"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v podman >/dev/null || missing="$$missing podman"; \
	command -v catatonit >/dev/null || missing="$$missing catatonit"; \
	[ -x /usr/sbin/haproxy ] || missing="$$missing haproxy"; \
	command -v docker-compose >/dev/null || missing="$$missing docker-compose"; \
	command -v busybox >/dev/null || missing="$$missing busybox-static"; \
	command -v wget >/dev/null || missing="$$missing wget"; \
	command -v ruby >/dev/null || missing="$$missing ruby"; \
	php -m 2>/dev/null | grep -qx curl || missing="$$missing php-cli php-curl"; \
	[ -x /usr/bin/redis-server ] || missing="$$missing redis-server redis-tools"; \
	[ -x /usr/sbin/mariadbd ] || missing="$$missing mariadb-server-core"; \
	command -v mariadb-install-db >/dev/null || missing="$$missing mariadb-server-core"; \
	command -v mysql >/dev/null || missing="$$missing mariadb-client-core"; \
	command -v kcat >/dev/null || missing="$$missing kcat"; \
	command -v valgrind >/dev/null || missing="$$missing valgrind"; \
	$(install-missing)
