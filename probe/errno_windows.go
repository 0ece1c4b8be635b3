package probe

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// errnoKind returns the cause that a Winsock or system error number names, if it names one. The names of package
// syscall are made up on Windows and never come from the network, but from the package's own checks.
func errnoKind(e syscall.Errno) (Kind, bool) {
	switch e {
	case windows.WSAECONNREFUSED, syscall.ECONNREFUSED:
		return KindRefused, true
	case windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAEHOSTDOWN, windows.WSAENETDOWN:
		return KindUnreachable, true
	case windows.WSAETIMEDOUT, syscall.ETIMEDOUT:
		return KindTimeout, true
	case windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAENETRESET, windows.WSAESHUTDOWN,
		syscall.ECONNRESET, syscall.EPIPE, windows.ERROR_BROKEN_PIPE:
		return KindReset, true
	case windows.WSAEMFILE, windows.ERROR_TOO_MANY_OPEN_FILES, syscall.EMFILE:
		return KindDescriptors, true
	case windows.WSAEADDRNOTAVAIL, windows.WSAENOBUFS:
		return KindPorts, true
	case windows.WSAEADDRINUSE:
		return KindAddressInUse, true
	case windows.WSAEACCES, windows.ERROR_ACCESS_DENIED, syscall.EACCES, syscall.EPERM:
		return KindPermission, true
	case windows.WSAEAFNOSUPPORT, windows.WSAEPROTONOSUPPORT, windows.WSAEOPNOTSUPP:
		return KindUnsupported, true
	}
	return "", false
}
