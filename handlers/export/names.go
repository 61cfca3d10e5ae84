package export

import "strings"

// Known tells whether this package gives such names, or did in an earlier form: to the file of a job, to its manifest, or to a part. What has another
// name is not Rollcall's.
func (n FileName) Known() bool {
	if numbers, ok := strings.CutPrefix(n.Name, partNames); ok {
		return areNumbers(numbers, 3, 4)
	}
	rest, ok := strings.CutPrefix(n.Name, "accounts-"+string(n.App)+"-")
	version, extension, dotted := strings.Cut(strings.TrimSuffix(rest, manifestSuffix), ".")
	return ok && dotted && areNumbers(version, 1, 2) && isExtension("."+extension)
}

// areNumbers tells whether a text is some numbers with dashes between them.
func areNumbers(text string, least, most int) bool {
	parts := strings.SplitN(text, "-", most+1)
	for _, p := range parts {
		if p == "" || strings.ContainsFunc(p, func(c rune) bool { return c < '0' || c > '9' }) {
			return false
		}
	}
	return len(parts) >= least && len(parts) <= most
}

func isExtension(text string) bool {
	for _, f := range Formats() {
		for _, c := range Compressions() {
			if f.allows(c) && text == Extension(f, c) {
				return true
			}
		}
	}
	return false
}
