package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"rollcall/handlers/export"
)

func TestCausesOfFaultsAreToldApart(t *testing.T) {
	answer := func(status int) error {
		return &smithy.OperationError{ServiceID: "S3", Err: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: errors.New("what the store says"),
		}}
	}
	for _, c := range []struct {
		err, want error
	}{
		{&fs.PathError{Op: "write", Err: syscall.ENOSPC}, export.ErrStoreFull},
		{&fs.PathError{Op: "write", Err: syscall.EDQUOT}, export.ErrStoreFull},
		{&smithy.GenericAPIError{Code: "QuotaExceeded"}, export.ErrStoreFull},
		{answer(http.StatusInsufficientStorage), export.ErrStoreFull},
		{answer(http.StatusBadGateway), export.ErrStoreAway},
		{&smithy.GenericAPIError{Code: "SlowDown"}, export.ErrStoreAway},
		{&smithy.GenericAPIError{Code: "ExpiredToken"}, export.ErrStoreRefuses},
		{&smithy.OperationError{ServiceID: "S3", Err: &smithy.OperationError{ServiceID: "STS", Err: answer(http.StatusBadRequest)}}, export.ErrStoreRefuses},
		{&fs.PathError{Op: "open", Err: syscall.EACCES}, export.ErrStoreRefuses},
		{&smithyhttp.RequestSendError{Err: context.Canceled}, nil},
		{&smithy.GenericAPIError{Code: "NoSuchKey"}, nil},
		{errors.New("anything else"), nil},
	} {
		wrapped := fmt.Errorf("write: %w", c.err)
		if got := causeOf(wrapped); got != c.want {
			t.Errorf("the cause of %v is %v, want %v", c.err, got, c.want)
		}
		if err := explain(wrapped); !errors.Is(err, c.err) {
			t.Errorf("%v hides %v", err, c.err)
		}
	}
}
