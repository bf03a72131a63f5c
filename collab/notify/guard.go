package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// RefusedError says that an address must not be reached from here: it lies
// inside the network, or names no host at all.
type RefusedError struct{ Address string }

func (e *RefusedError) Error() string {
	return "refused to connect to " + e.Address + ": it is an internal address; an administrator may allow the host"
}

// refusedNets are the networks that a public service never has: IANA's special
// purpose registries for IPv4 and IPv6, beside those that netip knows. Networks
// that carry an IPv4 address inside (NAT64, 6to4, Teredo) are refused whole.
var refusedNets = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier NAT, and cloud metadata of some
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("::ffff:0:0:0/96"), // IPv4-translated
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// refused reports whether an address is internal or of no use.
func refused(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsLoopback() || ip.IsPrivate() || ip.IsMulticast() ||
		ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsInterfaceLocalMulticast() {
		return true
	}
	for _, n := range refusedNets {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// guard refuses a connection by the address that is dialled, after names were
// resolved, so that no answer of DNS slips past it.
func guard(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || refused(ap.Addr()) {
		return &RefusedError{address}
	}
	return nil
}

const (
	sendTimeout      = 10 * time.Second // of one whole attempt
	maxHeaderBytes   = 64 << 10
	maxResponseBytes = 4 << 10
)

// newClient returns a client that reaches public addresses only, and the hosts
// that allowed lists by exact name or address. It follows no redirects and uses
// no proxy.
func newClient(allowed func(context.Context) ([]string, error)) *http.Client {
	open := &net.Dialer{Timeout: sendTimeout}
	guarded := &net.Dialer{Timeout: sendTimeout, Control: guard}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		hosts, err := allowed(ctx)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			if strings.EqualFold(h, host) {
				return open.DialContext(ctx, network, address)
			}
		}
		return guarded.DialContext(ctx, network, address)
	}
	return &http.Client{
		Timeout: sendTimeout,
		Transport: &http.Transport{
			DialContext:            dial,
			DisableKeepAlives:      true, // the next request is judged anew
			TLSHandshakeTimeout:    sendTimeout,
			ResponseHeaderTimeout:  sendTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// isRefused reports whether an error comes from the guard.
func isRefused(err error) bool {
	var r *RefusedError
	return errors.As(err, &r)
}
