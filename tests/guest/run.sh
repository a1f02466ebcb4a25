#!/bin/bash
# Runs test programs on another kernel: Debian's own, in a virtual machine that qemu emulates (KVM is
# not needed), with nothing but cgroup version 2, as a systemd host would lay it out.
#
#   tests/guest/run.sh BUILD_FOLDER [PATTERN]   e.g. build/release 'root.*escape': the lines of
#                                               `programs` that match; ./dev test --guest calls it
#
# To add a test program: a line in `programs` (who runs it, its path in the build folder, arguments).
# To give it a disk: a line in `disks`; the guest makes it and has it as /dev/disk/NAME (a symlink to a loop
# device), the program gets COFFERDAM_GUEST_DISKS=/dev/disk. What a test needs of /usr: PACKAGES and PROGRAMS below.
# Kernel modules: MODULES. `init` is what the guest runs; `kept` in the build folder is what the last run printed.
#
# Ends with "guest: N passed, N failed, N skipped"; fails when anything failed, when a program did not
# come to its end, or when a disk or the kernel is missing. Emulation is slow: programs get minutes.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
build=$(readlink -f "$1")
work=$build/guest
readonly pattern=${2:-.}
readonly here build work
readonly PACKAGES=(bash coreutils dash grep procps)
readonly PROGRAMS=(e2fsck find losetup mount resize2fs sed setpriv setsid umount unshare)
readonly MODULES=(crc32c_generic ext4 xfs overlay loop quota_v2)
readonly MEMORY_MIB=1024
readonly TIMEOUT_SECONDS=3000

die() {
  echo "guest: $*" >&2
  exit 1
}

# The kernel that Debian installs today, unpacked but not installed.
fetch_kernel() {
  local package
  package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-\)/\1/p' | head -1)
  [ -n "$package" ] || die "apt knows no linux-image-amd64"
  version=${package#linux-image-}
  kernel=$work/kernel-$version
  [ ! -f "$kernel/complete" ] || return 0
  rm -rf "$kernel" && mkdir -p "$kernel/package"
  echo "guest: fetching $package" >&2
  (cd "$kernel/package" && apt-get download -qq "$package" 2>"$kernel/log") || die "$(cat "$kernel/log")"
  dpkg --fsys-tarfile "$kernel"/package/*.deb | tar -x -C "$kernel" --wildcards './boot/vmlinuz-*' \
    './lib/modules/*/modules.*' './lib/modules/*/kernel/'{fs,lib,crypto,drivers/block}'/*'
  rm -r "$kernel/package"
  busybox depmod -b "$kernel" "$version"
  unpack_kernel "$kernel/boot/vmlinuz-$version" >"$kernel/vmlinux"
  touch "$kernel/complete"
}

# qemu starts an unpacked kernel two seconds sooner.
unpack_kernel() {
  local offset
  offset=$(LC_ALL=C grep -obUaPm1 '\xfd7zXZ\x00' "$1" | head -1 | cut -d: -f1)
  [ -n "$offset" ] || { cat "$1" && return; }
  # What lies behind the compressed part is none of xz's business, and an error to it.
  tail -c "+$((offset + 1))" "$1" | xz -dc --single-stream 2>/dev/null || true
}

# Programs, and the shared libraries they need, at the paths that they have here.
add_programs() {
  local library
  (cd / && tar -ch -- "${@#/}") | tar -x -C "$root" --keep-directory-symlink
  for library in $(ldd "$@" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | sort -u); do
    [ -e "$root$library" ] || install -D -m755 "$library" "$root$library"
  done
}

add_modules() {
  local tree=lib/modules/$version list=$root/guest/modules module name
  mkdir -p "$root/guest/ko"
  for name in "${MODULES[@]}"; do
    # Dependencies stand behind the module, the deepest last.
    for module in $(grep "/$name\.ko:" "$kernel/$tree/modules.dep" | tr -d : | tr ' ' '\n' | tac); do
      [ ! -e "$root/guest/ko/$(basename "$module")" ] || continue
      cp "$kernel/$tree/$module" "$root/guest/ko/"
      basename "$module" >>"$list"
    done
  done
}

make_root() {
  root=$work/root
  rm -rf "$root" && mkdir -p "$root"/{dev,etc,guest,home/user,proc,run,sys,tmp,var,usr/{bin,sbin,lib,lib64}}
  local name path programs=()
  for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
  for path in $(dpkg -L "${PACKAGES[@]}" | grep -E '^(/usr)?/s?bin/') \
    $(PATH=$PATH:/usr/sbin:/sbin type -P "${PROGRAMS[@]}" $(awk '!/^#/ { print $3 }' "$here/disks")); do
    [ -f "$path" ] && [ -x "$path" ] && programs+=("$path")
  done
  for path in $(awk '{ print $2 }' "$work/programs" | sort -u) tests/escape/escape_attacks; do
    [ -x "$build/$path" ] || die "$build/$path is not built"
    programs+=("$build/$path")
  done
  add_programs "${programs[@]}"
  ln -sf dash "$root/usr/bin/sh"
  install -m755 "$(type -P busybox)" "$root/guest/busybox"
  install -m755 "$here/init" "$root/guest/init"
  install -m644 "$work/programs" "$here/disks" "$root/guest/"
  echo "$build" >"$root/guest/build"
  printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nuser:x:1000:\n' >"$root/etc/group"
  add_modules
  /sbin/ldconfig -r "$root"
}

# An initial root cannot be left by pivot_root, so the real one lies in it as an archive.
make_initramfs() {
  local first=$work/first
  rm -rf "$first" && mkdir -p "$first/root"
  (cd "$work/root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$first/root.cpio"
  cp "$(type -P busybox)" "$first/busybox"
  cat >"$first/init" <<'END'
#!/busybox sh
/busybox mount -t tmpfs -o size=90%,mode=0755 root /root
cd /root && /busybox cpio -id </root.cpio
exec /busybox switch_root /root /guest/init
END
  chmod 755 "$first/init"
  (cd "$first" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$work/initramfs"
  rm -rf "$first"
}

boot() {
  timeout "$TIMEOUT_SECONDS" qemu-system-x86_64 -machine microvm,acpi=off -accel tcg,thread=multi -cpu max \
    -kernel "$kernel/vmlinux" -initrd "$work/initramfs" -m "$MEMORY_MIB" -smp 1 \
    -nodefaults -no-user-config -nographic -serial stdio -no-reboot \
    -append "console=ttyS0 reboot=t panic=-1 no_timer_check quiet" </dev/null |
    sed -u 's,\r$,,' | tee "$work/kept" || echo "guest: qemu ended with status $?" | tee -a "$work/kept"
}

# count WORD: what all programs together say of it, as in "[  PASSED  ] 12 tests."
count() {
  awk -v word="$1" '/^\[ +[A-Z]+ +\] [0-9]+ tests?[.,]/ && $2 == word { sum += $4 } END { print sum + 0 }' "$work/kept"
}

report() {
  local failed programs ended
  programs=$(wc -l <"$work/programs")
  ended=$(grep -c '^guest: exit 0: ' "$work/kept" || true)
  # A brief run names each failed test and does not sum up.
  failed=$(grep -cE '^\[ +FAILED +\] .* \([0-9]+ ms\)$' "$work/kept" || true)
  echo "guest: $(count PASSED) passed, $failed failed, $(count SKIPPED) skipped"
  grep '^guest: exit [^0]' "$work/kept" >&2 || true
  grep -q '^guest: end$' "$work/kept" || die "it did not come to its end"
  ! grep -q '^guest: cannot make disk' "$work/kept" || die "a disk is missing"
  [ "$failed" -eq 0 ] && [ "$ended" -eq "$programs" ] || die "$ended of $programs programs ended well"
}

mkdir -p "$work"
grep -v '^#' "$here/programs" | grep -E -- "$pattern" >"$work/programs" || die "no program matches $pattern"
fetch_kernel
make_root
make_initramfs
boot
report
