package option

import "strings"

// Nearest returns the known name that is most like name, or "" if known is
// empty. A name that differs just in what stands before the last dot
// ("mtu" for "com.docker.network.driver.mtu") counts as near.
func Nearest(name string, known []string) string {
	best, least := "", 0
	for _, k := range known {
		d := min(distance(name, k), 1+distance(last(name), last(k)))
		if best == "" || d < least {
			best, least = k, d
		}
	}
	return best
}

func last(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }

// distance is the Levenshtein distance of a and b, in bytes. Names longer than
// any option's are cut: their distance need not be exact.
func distance(a, b string) int {
	const longest = 128
	a, b = a[:min(len(a), longest)], b[:min(len(b), longest)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
