//go:build !windows

package probe

import "syscall"

// errnoKind returns the cause that an errno names, if it names one.
func errnoKind(e syscall.Errno) (Kind, bool) {
	switch e {
	case syscall.ECONNREFUSED:
		return KindRefused, true
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN:
		return KindUnreachable, true
	case syscall.ETIMEDOUT:
		return KindTimeout, true
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return KindReset, true
	case syscall.EMFILE, syscall.ENFILE:
		return KindDescriptors, true
	case syscall.EADDRNOTAVAIL:
		return KindPorts, true
	case syscall.EADDRINUSE:
		return KindAddressInUse, true
	case syscall.EACCES, syscall.EPERM:
		return KindPermission, true
	case syscall.ENOSYS, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.EOPNOTSUPP:
		return KindUnsupported, true
	}
	return "", false
}
