package testcaddy

import "testing"

// Two processes that are tested at the same time have no port in common.
func TestBlocksAreApart(t *testing.T) {
	claimed := make(map[int]bool)
	for range 3 {
		b, err := claim()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.claimed.Close() })
		if claimed[b.first] {
			t.Errorf("%d is claimed twice", b.first)
		}
		claimed[b.first] = true
		for range 2 * blockSize {
			if port := FreePort(t); port/blockSize == b.first/blockSize {
				t.Fatalf("%d is given, of another's block", port)
			}
		}
	}
}
