# SPDX-License-Identifier: GPL-2.0-or-later
# The demo guest, installation.

DESTDIR ?=
BINDIR  := $(DESTDIR)$(PREFIX)/bin
MANDIR  := $(DESTDIR)$(PREFIX)/share/man
DATADIR := $(DESTDIR)$(PREFIX)/share/vmdeck

images/media/linux/vmlinuz:
	images/fetch.sh linux busybox

images/media/demo-initramfs.gz: images/initramfs.sh | images/media/linux/vmlinuz
	images/fetch.sh busybox
	images/initramfs.sh $@ images/media/linux images/media/busybox

images/media/demo-initramfs-i386.gz: images/initramfs.sh
	images/fetch.sh linux-i386 busybox-i386
	images/initramfs.sh $@ images/media/linux-i386 images/media/busybox-i386

.PHONY: demo-initramfs
demo-initramfs: images/media/demo-initramfs.gz

.PHONY: run
run: deps ## install what is missing, build, make the demo guest, open vmdeck
	@$(MAKE) -s -j$$(nproc) all
	@$(MAKE) -s demo-initramfs
	@images/demo.sh ./vmdeck

.PHONY: install uninstall
install: all ## copy program and manual pages below $(DESTDIR)$(PREFIX)
	install -D -m 755 $(BUILD)/vmdeck $(BINDIR)/vmdeck
	install -D -m 644 man/vmdeck.1 $(MANDIR)/man1/vmdeck.1
	install -D -m 644 man/vmdeck.yaml.5 $(MANDIR)/man5/vmdeck.yaml.5
	for f in configs/*.yaml; do install -D -m 644 $$f $(DATADIR)/configs/$${f##*/}; done

uninstall: ## remove what install copied
	rm -f $(BINDIR)/vmdeck $(MANDIR)/man1/vmdeck.1 $(MANDIR)/man5/vmdeck.yaml.5
	rm -rf $(DATADIR)
