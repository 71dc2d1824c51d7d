package service

import "syscall"

// Error is a refusal of the control interface with the errno that the kernel's ip_vs answers in the same case;
// ipvsadm's messages are chosen by it. Values are sentinels: test with errors.Is, reach the errno with errors.As.
type Error struct {
	Errno syscall.Errno
	What  string
}

func (e *Error) Error() string { return e.What }

// Unwrap makes errors.Is(err, syscall.ESRCH) work.
func (e *Error) Unwrap() error { return e.Errno }

// The refusals. Table wraps them with the name of the thing at fault.
var (
	ErrServiceExists = &Error{syscall.EEXIST, "service already exists"}
	ErrNoScheduler   = &Error{syscall.ENOENT, "scheduler or persistence engine not found"}
	ErrNoService     = &Error{syscall.ESRCH, "no such service"}
	ErrServerExists  = &Error{syscall.EEXIST, "destination already exists"}
	ErrNoServer      = &Error{syscall.ENOENT, "no such destination"}
	ErrInvalid       = &Error{syscall.EINVAL, "invalid value"}
	ErrRange         = &Error{syscall.ERANGE, "numerical result out of range"}
	ErrFamily        = &Error{syscall.EAFNOSUPPORT, "address family not supported"}
	ErrFull          = &Error{syscall.ENOMEM, "no free server slot"}
	ErrNoTunable     = &Error{syscall.ENOENT, "no such tunable"}
	ErrDaemonRuns    = &Error{syscall.EEXIST, "sync daemon has already run"}
	ErrNoDaemon      = &Error{syscall.ESRCH, "no sync daemon is running"}
)
