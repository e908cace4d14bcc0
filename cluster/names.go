package cluster

import (
	"slices"
	"strings"
)

// The most that an endpoint may have of names, and they of characters.
const (
	namesMax      = 32
	nameLengthMax = 180
)

// Names returns those of an endpoint's names that the cluster tells: labels of
// letters, digits, - and _ (RFC 1035 section 2.3.4, and _ as Docker has it),
// separated by dots, in lower case, each once. Others are left out, since an
// endpoint is reached whatever it is called.
func Names(all []string) (out []string) {
	for _, n := range all {
		n = strings.ToLower(n)
		if isName(n) && !slices.Contains(out, n) && len(out) < namesMax {
			out = append(out, n)
		}
	}
	return out
}

func isName(s string) bool {
	if len(s) > nameLengthMax {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
