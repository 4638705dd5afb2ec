# fairlead: `make` builds, `make check` judges the code, `make test` runs everything, `make demo` shows it.
# V=1 shows the commands; CC=clang, BUILD=dir, PREFIX and DESTDIR are honoured.

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
PYTHON ?= /usr/bin/python3
BUILD ?= build
PREFIX ?= /usr/local
V ?= 0
VERSION := $(shell cat VERSION)

ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
else
Q :=
say = @:
endif

MODULES := base conf nft proxy ingress main
SOURCES := $(foreach m,$(MODULES),$(sort $(wildcard $(m)/*.c)))
HEADERS := $(foreach m,$(MODULES),$(sort $(wildcard $(m)/*.h)))
UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.c))
NET_SOURCES := $(sort $(wildcard tests/net/test_*.c))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BENCH_SOURCES := $(sort $(wildcard tests/bench/bench_*.c))
TOOL_SOURCES := $(sort $(wildcard tests/tools/*.c))

WARNINGS := -std=gnu17 -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion \
	-Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wcast-qual -Wvla -Wformat=2 \
	-Wnull-dereference -Wwrite-strings -Wundef
HARDENING := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -fno-plt
OPTIMISE ?= -O2 -g
PACKAGES := libssl libcrypto libmnl libnftnl libnetfilter_conntrack jansson yaml-0.1 libcares libxxhash apr-util-1 apr-1
PACKAGE_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PACKAGES) 2>/dev/null))
PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lev -lpthread -lm

# llhttp: a library on newer releases, C sources in a package of Debian 12.
ifneq ($(wildcard /usr/share/llhttp/llhttp.c),)
LLHTTP_CFLAGS := -isystem /usr/share/include/llhttp
LLHTTP_SOURCES := /usr/share/llhttp/api.c /usr/share/llhttp/http.c /usr/share/llhttp/llhttp.c
LLHTTP_LIBS :=
else
LLHTTP_CFLAGS :=
LLHTTP_SOURCES :=
LLHTTP_LIBS := -lllhttp
endif

CPPFLAGS_ALL := -I. -D_GNU_SOURCE -DFAIRLEAD_VERSION='"$(VERSION)"' $(LLHTTP_CFLAGS) $(PACKAGE_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL := $(WARNINGS) $(HARDENING) $(OPTIMISE) $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now $(LDFLAGS)
SANITIZE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZING := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

LLHTTP_OBJECTS = $(patsubst /usr/share/llhttp/%.c,$(1)/llhttp/%.o,$(LLHTTP_SOURCES))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o) $(call LLHTTP_OBJECTS,$(BUILD)/obj)

# What a test links, from its own first lines: /* LINK: a.c b.c */ and /* LIBS: -lx */.
linked = $(shell sed -n 's,^/\* LINK: \(.*\) \*/$$,\1,p' $(1))
link_objects = $(patsubst %.c,$(2)/%.o,$(call linked,$(1))) $(if $(findstring base/http1.c,$(call linked,$(1))),$(call LLHTTP_OBJECTS,$(2)))
link_libs = $(shell sed -n 's,^/\* LIBS: \(.*\) \*/$$,\1,p' $(1)) $(if $(findstring base/http1.c,$(call linked,$(1))),$(LLHTTP_LIBS))

.PHONY: all unit net fuzz fuzz-run bench-l4 bench-routes check gates format-check format layers tidy cppcheck test \
	test-all demo deps install clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:

all: $(BUILD)/fairlead

$(BUILD)/fairlead: $(OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $(OBJECTS) $(LLHTTP_LIBS) $(PACKAGE_LIBS)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(BUILD)/san/%.o: %.c $(BUILD)/flags
	$(call say,CC.san,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(WARNINGS) $(SANITIZE) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/%.o: %.c $(BUILD)/flags
	$(call say,CC.fuzz,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS_ALL) $(WARNINGS) -Wno-missing-prototypes $(FUZZING) -MMD -MP -c -o $@ $<

# Somebody else's sources are compiled without our warnings.
$(BUILD)/obj/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(LLHTTP_CFLAGS) -DLLHTTP_STRICT_MODE=1 $(HARDENING) $(OPTIMISE) -w -c -o $@ $<
$(BUILD)/san/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(LLHTTP_CFLAGS) -DLLHTTP_STRICT_MODE=1 $(SANITIZE) -w -c -o $@ $<
$(BUILD)/fuzz/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(LLHTTP_CFLAGS) -DLLHTTP_STRICT_MODE=1 $(FUZZING) -w -c -o $@ $<

# Rebuilds everything when compiler or flags change.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(subst ','\'',$(CPPFLAGS_ALL)) $(CFLAGS_ALL)' | cmp -s - $@ || echo '$(CC) $(subst ','\'',$(CPPFLAGS_ALL)) $(CFLAGS_ALL)' > $@

# ---- tests ----

UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/unit/%)
NET_TESTS := $(NET_SOURCES:tests/net/%.c=$(BUILD)/net/%)
FUZZERS := $(FUZZ_SOURCES:tests/fuzz/%.c=$(BUILD)/fuzzers/%)
BENCHES := $(BENCH_SOURCES:tests/bench/%.c=$(BUILD)/bench/%)

$(BUILD)/unit/%: $(BUILD)/san/tests/unit/%.o $$(call link_objects,tests/unit/$$*.c,$(BUILD)/san)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(call link_libs,tests/unit/$*.c) -lcmocka -lpthread -lm

$(BUILD)/net/%: $(BUILD)/san/tests/net/%.o $$(call link_objects,tests/net/$$*.c,$(BUILD)/san)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(call link_libs,tests/net/$*.c) -lcmocka -lpthread -lm

$(BUILD)/fuzzers/%: $(BUILD)/fuzz/tests/fuzz/%.o $$(call link_objects,tests/fuzz/$$*.c,$(BUILD)/fuzz)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(call link_libs,tests/fuzz/$*.c) -lpthread

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $$(call link_objects,tests/bench/$$*.c,$(BUILD)/obj)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(call link_libs,tests/bench/$*.c) -lpthread

# Small programs that tests in other languages drive.
$(BUILD)/tools/%: tests/tools/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< -lpthread
TOOLS := $(TOOL_SOURCES:tests/tools/%.c=$(BUILD)/tools/%)

unit: $(UNIT_TESTS)
	$(Q)$(PYTHON) tests/run --build $(BUILD) unit

net: all $(NET_TESTS) $(TOOLS)
	$(Q)$(PYTHON) tests/run --build $(BUILD) net

fuzz: $(FUZZERS)

# Each fuzzer for FUZZ_SECONDS over its kept corpus; new finds stay in the build folder.
FUZZ_SECONDS ?= 60
fuzz-run: $(FUZZERS)
	$(Q)$(PYTHON) tests/run --build $(BUILD) --fuzz-seconds $(FUZZ_SECONDS) fuzz

# Installs what is missing first; a fresh make then sees what was installed.
test:
	$(Q)sh tests/deps
	$(Q)$(MAKE) --no-print-directory test-all
test-all: all $(UNIT_TESTS) $(NET_TESTS) $(FUZZERS) $(TOOLS)
	$(Q)$(PYTHON) tests/run --build $(BUILD) check unit net fuzz cluster

bench-l4: all $(BENCHES)
	$(Q)$(PYTHON) tests/bench/bench_l4.py --build $(BUILD)

bench-routes: $(BUILD)/bench/bench_routes
	$(Q)$(BUILD)/bench/bench_routes

# ---- the gates ----

check: gates unit
gates: format-check layers tidy cppcheck

ALL_C := $(SOURCES) $(HEADERS) $(sort $(wildcard tests/*/*.c tests/*/*.h))
format-check:
	$(call say,FORMAT)
	$(Q)clang-format --dry-run -Werror $(ALL_C)
format:
	$(Q)clang-format -i $(ALL_C)

layers:
	$(call say,LAYERS)
	$(Q)$(PYTHON) tests/layers $(MODULES)

# One file at a time: over several files clang-tidy 14 invents errors. A stamp per file, so only changed ones run.
TIDY_STAMPS := $(SOURCES:%.c=$(BUILD)/tidy/%.stamp)
tidy: $(TIDY_STAMPS)
$(BUILD)/tidy/%.stamp: %.c .clang-tidy $(HEADERS)
	$(call say,TIDY,$<)
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet $< -- $(CPPFLAGS_ALL) -std=gnu17 2>/dev/null
	@touch $@

# ctuuninitvar is left out: cppcheck 2.10 takes out-parameters passed through two calls for reads.
cppcheck:
	$(call say,CPPCHECK)
	@mkdir -p $(BUILD)/cppcheck
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --error-exitcode=1 --inline-suppr \
		--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=ctuuninitvar --cppcheck-build-dir=$(BUILD)/cppcheck \
		-D_GNU_SOURCE -DFAIRLEAD_VERSION='"x"' -I. $(SOURCES) 2>&1 | (! grep .)

# ---- set-up, demo, install ----

deps:
	$(Q)sh tests/deps

demo:
	$(Q)sh tests/demo/demo

install: all
	install -d $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(BUILD)/fairlead $(DESTDIR)$(PREFIX)/sbin/fairlead

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
