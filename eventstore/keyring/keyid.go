package keyring

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
)

// ErrKeyID means that a text is not the id of a key.
var ErrKeyID = errors.New("not the id of a key")

// keyID names one key: the block that holds it and its slot in the block.
type keyID struct {
	block ulid.ULID
	slot  int
}

// String returns the id as events carry it: <block ULID>.<slot>.
func (id keyID) String() string {
	b := make([]byte, ulid.EncodedSize, ulid.EncodedSize+len(".1023"))
	id.block.MarshalTextTo(b) // fails only on a buffer of another size
	return string(strconv.AppendInt(append(b, '.'), int64(id.slot), 10))
}

// parseKeyID reads what String wrote.
func parseKeyID(s string) (keyID, error) {
	block, slot, _ := strings.Cut(s, ".")
	u, err := ulid.ParseStrict(block)
	if err != nil || block != strings.ToUpper(block) { // ParseStrict takes small letters too
		return keyID{}, fmt.Errorf("%w: %q", ErrKeyID, s)
	}
	n, err := strconv.ParseUint(slot, 10, 16)
	if err != nil || n >= maxBlockSize || (len(slot) > 1 && slot[0] == '0') {
		return keyID{}, fmt.Errorf("%w: %q", ErrKeyID, s)
	}
	return keyID{block: u, slot: int(n)}, nil
}
