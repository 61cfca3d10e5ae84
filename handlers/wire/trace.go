package wire

import "strings"

// ValidTraceParent tells whether a text is a trace context as the header traceparent of W3C
// carries it, in the one version that there is (https://www.w3.org/TR/trace-context/).
func ValidTraceParent(v string) bool {
	const length = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
	if len(v) != length || v[:3] != "00-" || v[35] != '-' || v[52] != '-' {
		return false
	}
	for _, part := range []string{v[3:35], v[36:52]} {
		if strings.Trim(part, "0") == "" {
			return false
		}
	}
	return strings.Trim(v, "0123456789abcdef-") == "" && strings.Count(v, "-") == 3
}
