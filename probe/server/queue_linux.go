package server

import "golang.org/x/sys/unix"

// receiveQueue is the number of bytes that wait in a socket's receive queue, see tcp(7) SIOCINQ.
func receiveQueue(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
