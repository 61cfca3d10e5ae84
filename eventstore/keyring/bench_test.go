package keyring_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"rollcall/eventstore/keyring"
)

func BenchmarkNewKey(b *testing.B) {
	for _, callers := range []int{1, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			k := open(b, newNode(b).connect(b), newMaster(b), keyring.Options{})
			b.SetParallelism(callers) // times the number of CPUs
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := k.NewKey(b.Context()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkSealAndUnseal(b *testing.B) {
	k := open(b, newNode(b).connect(b), newMaster(b), keyring.Options{})
	ids := newKeys(b, k, 4096)
	plain := make([]byte, 200)
	sealed, err := k.Seal(b.Context(), ids[0], plain, aad)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := k.Seal(b.Context(), ids[i%len(ids)], plain, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unseal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.Unseal(b.Context(), ids[0], sealed, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seal, callers=256", func(b *testing.B) {
		b.SetParallelism(128)
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := k.Seal(b.Context(), ids[int(n.Add(1))%len(ids)], plain, aad); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkLoad reads a block that is not in memory, as a projection does for each
// 64 accounts it comes by.
func BenchmarkLoad(b *testing.B) {
	js, m := newNode(b).connect(b), newMaster(b)
	ids := newKeys(b, open(b, js, m, keyring.Options{BlockSize: 64}), 64*64)
	k := open(b, js, m, keyring.Options{CacheBlocks: 1})
	plain := make([]byte, 200)
	for i := 0; b.Loop(); i += 64 {
		if _, err := k.Seal(b.Context(), ids[i%len(ids)], plain, aad); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDestroy100 destroys 100 keys, of two neighbouring blocks or of 100 blocks, in a
// stream that holds the keys of so many accounts.
func BenchmarkDestroy100(b *testing.B) {
	for _, accounts := range []int{100_000, 400_000} {
		k := open(b, newNode(b).connect(b), newMaster(b), keyring.Options{})
		ids := newKeys(b, k, accounts)
		next := 0
		b.Run(fmt.Sprintf("accounts=%d/neighbours", accounts), func(b *testing.B) {
			for b.Loop() {
				if err := k.Destroy(b.Context(), ids[next:next+100]...); err != nil {
					b.Fatal(err)
				}
				next += 128
			}
		})
		b.Run(fmt.Sprintf("accounts=%d/scattered", accounts), func(b *testing.B) {
			for b.Loop() {
				batch := make([]string, 100)
				for i := range batch {
					batch[i] = ids[(next+i*(len(ids)/100))%len(ids)]
				}
				if err := k.Destroy(b.Context(), batch...); err != nil {
					b.Fatal(err)
				}
				next++
			}
		})
	}
}
