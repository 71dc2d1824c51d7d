package worker

import "unsafe"

// view is the T that begins at offset at of mem, checked by one comparison where slicing and converting make three. What
// does not lie within mem panics, as it would there. T is an array of bytes.
func view[T any](mem []byte, at uint64) *T {
	if at > uint64(len(mem))-uint64(unsafe.Sizeof(*new(T))) {
		outside(at)
	}
	return (*T)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(mem)), at))
}

//go:noinline
func outside(at uint64) { panic(at) }
