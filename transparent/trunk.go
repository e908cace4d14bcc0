package transparent

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"fairway/link"
)

const (
	lastVLAN     = 4094 // IEEE 802.1Q: 4095 is reserved
	trunkAllowed = "a list such as 10-20,30 of VLANs from 1 to 4094"
)

// trunk sets dst from a list of VLANs and ranges of them, in order and apart.
func trunk(dst *[]link.VLANRange) func(string) error {
	return func(s string) error {
		var all []link.VLANRange
		for word := range strings.SplitSeq(s, ",") {
			first, last, isRange := strings.Cut(strings.TrimSpace(word), "-")
			if !isRange {
				last = first
			}
			a, errA := vlan(first)
			b, errB := vlan(last)
			if errA != nil || errB != nil || a > b {
				return errors.New("no VLANs")
			}
			all = append(all, link.VLANRange{First: a, Last: b})
		}
		slices.SortFunc(all, func(a, b link.VLANRange) int { return cmp.Compare(a.First, b.First) })
		*dst = nil
		for _, r := range all {
			if n := len(*dst); n > 0 && r.First <= (*dst)[n-1].Last+1 {
				(*dst)[n-1].Last = max((*dst)[n-1].Last, r.Last)
				continue
			}
			*dst = append(*dst, r)
		}
		return nil
	}
}

func vlan(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 1 || n > lastVLAN {
		return 0, errors.New("no VLAN")
	}
	return uint16(n), nil
}
