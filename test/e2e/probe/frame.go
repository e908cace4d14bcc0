package main

import (
	"encoding/hex"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// frame sends one frame by a link, as anybody may with NET_RAW.
func frame(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("frame: want LINK HEX")
	}
	data, err := hex.DecodeString(args[1])
	if err != nil {
		return err
	}
	link, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, data, 0, &unix.SockaddrLinklayer{Ifindex: link.Index})
}
