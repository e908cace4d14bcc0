// Package vm runs kernel tests on another kernel than this machine's: Debian
// 12's cloud kernel, 6.1 with all modules, in a virtual machine that is
// emulated (QEMU's TCG), so that neither KVM nor a disk image is needed.
//
// One boot serves all: the test programs of the packages in parts are compiled
// here, put beside the programs they call into an initramfs, and run there one
// after the other by the script init. What they print comes back by a serial
// port; each of their tests is a subtest here.
package vm
