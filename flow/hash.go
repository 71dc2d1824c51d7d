package flow

import "math/bits"

// secrets are what the hash multiplies with, drawn from the table's seed. Without the seed nobody can say which two keys
// meet in a bucket, which is what keeps a flood from aiming at one.
type secrets [6]uint64

func newSecrets(seed [2]uint64) (s secrets) {
	x, y := seed[0], seed[1]
	for i := range s {
		// splitmix64 (Steele, Lea, Flood 2014) over both halves.
		x += 0x9e3779b97f4a7c15
		y += 0xbf58476d1ce4e5b9
		z := x ^ bits.RotateLeft64(y, 32)
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		s[i] = z ^ z>>31 | 1
	}
	return s
}

// Hash is the table's hash of a key: three 64×64→128 bit multiplications folded, in the manner of wyhash, the first two
// of which run side by side. Its top bits choose the bucket, its low bits are the tag.
//
//fastlb:hot
func (t *Table) Hash(k *Key) uint64 {
	h1, l1 := bits.Mul64(k.Src.Hi^t.secrets[0], k.Src.Lo^t.secrets[1])
	h2, l2 := bits.Mul64(k.Dst.Hi^t.secrets[2], k.Dst.Lo^t.secrets[3])
	h, l := bits.Mul64(h1^l1^keyWord(k)^t.secrets[4], h2^l2^t.secrets[5])
	return h ^ l
}
