package ring

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Every errno that the set-up calls are known to answer says what to do, and stays reachable.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		got   error
		errno unix.Errno
		want  error
	}{
		{explain("socket", unix.EPERM), unix.EPERM, ErrPermission},
		{explain("register UMEM", unix.EACCES), unix.EACCES, ErrPermission},
		{explain("register UMEM", unix.ENOBUFS), unix.ENOBUFS, ErrMemlock},
		{explain("register UMEM", unix.ENOMEM), unix.ENOMEM, ErrMemlock},
		{explain("socket", unix.EAFNOSUPPORT), unix.EAFNOSUPPORT, ErrNotSupported},
		{explainBind(BindCopy, unix.EBUSY), unix.EBUSY, ErrQueueBusy},
		{explainBind(BindCopy, unix.ENODEV), unix.ENODEV, ErrNoInterface},
		{explainBind(BindCopy, unix.EINVAL), unix.EINVAL, ErrNoQueue},
		{explainBind(BindZeroCopy, unix.EINVAL), unix.EINVAL, ErrNotSupported},
		{explainBind(BindZeroCopy, unix.ENOENT), unix.ENOENT, ErrNotSupported},
		{explainBind(BindZeroCopy, unix.EOPNOTSUPP), unix.EOPNOTSUPP, ErrNotSupported},
	} {
		if !errors.Is(c.got, c.want) || !errors.Is(c.got, c.errno) {
			t.Errorf("%v: want %v and %v in it", c.got, c.want, c.errno)
		}
	}
}

func TestWakeResults(t *testing.T) {
	for errno, want := range map[unix.Errno]wakeResult{
		0: wakeDone, unix.EAGAIN: wakeAgain, unix.EBUSY: wakeBusy, unix.ENOBUFS: wakeNoBufs, unix.ENETDOWN: wakeNetDown,
		unix.ENXIO: wakeNetDown, unix.EINVAL: wakeFailed,
	} {
		if got := resultOf(errno); got != want {
			t.Errorf("%v: %d, want %d", errno, got, want)
		}
	}
}
