package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// errNotPublic means that a host has an address that nothing is sent to.
var errNotPublic = errors.New("its host has an address that is not public, to which nothing is sent")

// reserved are the blocks of addresses that netip does not tell from public ones: those of
// https://www.iana.org/assignments/iana-ipv4-special-registry that are not globally reachable, and the address of a cloud's own service.
var reserved = func() (all []netip.Prefix) {
	for _, block := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"240.0.0.0/4", "168.63.129.16/32",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	} {
		all = append(all, netip.MustParsePrefix(block))
	}
	return all
}()

// globalIPv6 is what is given out of IPv6. What maps or translates IPv4 addresses is outside.
var globalIPv6 = netip.MustParsePrefix("2000::/3")

// isPublic tells whether anybody on the internet could reach an address.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Is6() && !globalIPv6.Contains(a) {
		return false
	}
	for _, block := range reserved {
		if block.Contains(a) {
			return false
		}
	}
	return true
}

// onlyPublic is a net.Dialer.Control. It sees the address that is dialled, after names have been resolved, so that a name
// cannot lead elsewhere than it did when it was looked at.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(a.Addr()) {
		return errNotPublic
	}
	return nil
}

// checkURL tells what is wrong with the address of a webhook, nothing when it can be used.
func checkURL(address string, private bool) string {
	u, err := url.Parse(address)
	host := ""
	if err == nil {
		host = u.Hostname()
	}
	ip, ipErr := netip.ParseAddr(host)
	switch {
	case len(address) > MaxURLBytes:
		return fmt.Sprintf("at most %d bytes", MaxURLBytes)
	case err != nil || host == "" || u.Opaque != "":
		return "an absolute URL, such as https://example.com/hooks"
	case u.Scheme != "https" && !(private && u.Scheme == "http"):
		return "an https URL"
	case u.User != nil:
		return "without a user name or password: requests are signed instead"
	case u.Fragment != "" || strings.Contains(address, "#"):
		return "without a fragment"
	case !private && ipErr == nil && !isPublic(ip):
		return "an address that is public"
	case !private && isLocalName(host):
		return "a host that is public"
	}
	return ""
}

// isLocalName tells of names that never are public. Others show when they are resolved.
func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
