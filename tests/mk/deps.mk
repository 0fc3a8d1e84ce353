# SPDX-License-Identifier: GPL-2.0-or-later
# What a machine needs, as Debian packages; the only place that names them.

# to build and run; libcap2-bin and the like are not needed: no root, no setuid
BUILD_PACKAGES := gcc libc6-dev make pkg-config libzydis-dev libslirp-dev libjansson-dev libuv1-dev \
	libvterm-dev libvncserver-dev libyaml-dev libncurses-dev libpng-dev seabios
# to make the demo guest
IMAGE_PACKAGES := cpio gzip dpkg apt findutils
# to check: second compiler, tests, real viewers and terminals
CHECK_PACKAGES := clang libclang-rt-14-dev libcmocka-dev nasm python3 tmux procps xvfb tigervnc-viewer xdotool \
	imagemagick qemu-utils
LINT_PACKAGES  := clang-format clang-tidy clang-tools cppcheck

SUDO := $(if $(filter-out 0,$(shell id -u)),sudo,)
missing = $(strip $(foreach p,$(1),$(if $(shell dpkg-query -W -f='$${db:Status-Status}' $(p) 2>/dev/null | grep -x installed),,$(p))))

define install_packages
	@set -e; todo="$(call missing,$(1))"; \
	if [ -n "$$todo" ]; then \
	    echo "installing: $$todo"; \
	    $(SUDO) apt-get update -qq || true; \
	    DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$todo >/dev/null; \
	fi
endef

.PHONY: deps check-deps lint-deps
deps: ## install what building and running need (asks sudo when packages are missing)
	$(call install_packages,$(BUILD_PACKAGES) $(IMAGE_PACKAGES))

check-deps: deps
	$(call install_packages,$(CHECK_PACKAGES))

lint-deps: check-deps
	$(call install_packages,$(LINT_PACKAGES))
