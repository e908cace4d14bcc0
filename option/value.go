package option

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

var errNotAllowed = errors.New("not allowed")

// Bool sets dst from what strconv.ParseBool understands, as Docker's own
// drivers do.
func Bool(dst *bool) func(string) error {
	return func(s string) (err error) {
		*dst, err = strconv.ParseBool(s)
		return err
	}
}

// OnOff sets dst from the words on and off.
func OnOff(dst *bool) func(string) error {
	return func(s string) error {
		if s != "on" && s != "off" {
			return errNotAllowed
		}
		*dst = s == "on"
		return nil
	}
}

// None sets dst by the word none, which is all that is allowed.
func None(dst *bool) func(string) error {
	return func(s string) error {
		if s != "none" {
			return errNotAllowed
		}
		*dst = true
		return nil
	}
}

// Int sets dst from a decimal number between low and high.
func Int(dst *int, low, high int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return errNotAllowed
		}
		*dst = n
		return nil
	}
}

// OneOf sets dst to one of the words.
func OneOf[T ~string](dst *T, words ...T) func(string) error {
	return func(s string) error {
		for _, w := range words {
			if s == string(w) {
				*dst = w
				return nil
			}
		}
		return errNotAllowed
	}
}

// Addr4 sets dst from an IPv4 address that is not a multicast one.
func Addr4(dst *netip.Addr) func(string) error { return addr(dst, netip.Addr.Is4) }

// Addr6 sets dst from an IPv6 address without zone that is not a multicast one.
func Addr6(dst *netip.Addr) func(string) error {
	return addr(dst, func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.Zone() == "" })
}

func addr(dst *netip.Addr, ok func(netip.Addr) bool) func(string) error {
	return func(s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil || !ok(a) || a.IsMulticast() {
			return errNotAllowed
		}
		*dst = a
		return nil
	}
}

// LinkName sets dst from a name that the kernel takes for a link: at most 15
// bytes, none of them a slash, a colon, white space or a control character, and
// not "." or ".." (dev_valid_name in the kernel's net/core/dev.c). Bytes beyond
// ASCII, quotes and wildcards, which the kernel would take, are left out.
func LinkName(dst *string) func(string) error {
	return func(s string) error {
		if !IsLinkName(s) {
			return errNotAllowed
		}
		*dst = s
		return nil
	}
}

// IsLinkName reports whether s may name a link: see LinkName.
func IsLinkName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 15 || s[0] == '-' {
		return false
	}
	if s == "all" || s == "default" { // in /proc/sys/net/*/conf these mean other links, too
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("-_.@", r)
	}) < 0
}

// SegmentAllowed is what Segment takes, in words.
const SegmentAllowed = "at most 63 of a-z 0-9 - _, beginning with a letter or a number"

// Segment returns a setter for the name of a segment, which is a part of keys that
// all hosts of a cluster share.
func Segment(dst *string) func(string) error {
	return func(s string) error {
		if len(s) == 0 || len(s) > 63 {
			return errNotAllowed
		}
		for i, r := range []byte(s) {
			letter := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
			if !letter && (i == 0 || r != '-' && r != '_') {
				return errNotAllowed
			}
		}
		*dst = s
		return nil
	}
}
