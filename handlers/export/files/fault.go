package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"gocloud.dev/gcerrors"

	"rollcall/handlers/export"
)

// causes are the codes of errors by which S3, and stores that speak like it, tell what is wrong with themselves rather
// than with a request.
var causes = map[string]error{
	"NoSuchBucket": export.ErrNoBucket,

	"AccessDenied":          export.ErrStoreRefuses,
	"AllAccessDisabled":     export.ErrStoreRefuses,
	"ExpiredToken":          export.ErrStoreRefuses,
	"Forbidden":             export.ErrStoreRefuses,
	"InvalidAccessKeyId":    export.ErrStoreRefuses,
	"InvalidToken":          export.ErrStoreRefuses,
	"RequestTimeTooSkewed":  export.ErrStoreRefuses,
	"SignatureDoesNotMatch": export.ErrStoreRefuses,
	"XAdminUserNotFound":    export.ErrStoreRefuses, // versitygw

	"InsufficientCapacity": export.ErrStoreFull, // Ceph
	"QuotaExceeded":        export.ErrStoreFull,
	"XMinioStorageFull":    export.ErrStoreFull,

	"InternalError":      export.ErrStoreAway,
	"ServiceUnavailable": export.ErrStoreAway,
	"SlowDown":           export.ErrStoreAway,
}

// explain adds to an error of the bucket the cause that people are told, where it is known.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if cause := causeOf(err); cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

func causeOf(err error) error {
	var refused smithy.APIError
	if errors.As(err, &refused) && causes[refused.ErrorCode()] != nil {
		return causes[refused.ErrorCode()]
	}
	var answer *smithyhttp.ResponseError
	var unsent *smithyhttp.RequestSendError
	var network net.Error
	switch {
	case errors.Is(err, errStalled):
		return export.ErrStoreAway
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return export.ErrStoreFull
	case errors.Is(err, fs.ErrPermission), gcerrors.Code(err) == gcerrors.PermissionDenied, withoutCredentials(err):
		return export.ErrStoreRefuses
	case errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusInsufficientStorage:
		return export.ErrStoreFull
	case errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusInternalServerError:
		return export.ErrStoreAway
	case errors.Is(err, context.Canceled):
		return nil // the caller's own doing
	case errors.As(err, &unsent), errors.As(err, &network):
		return export.ErrStoreAway
	}
	return nil
}

// withoutCredentials tells whether it was an operation of another service that failed below one of S3: one that gives
// credentials.
func withoutCredentials(err error) bool {
	var op *smithy.OperationError
	for errors.As(err, &op) {
		if op.Service() != s3.ServiceID {
			return true
		}
		err = op.Unwrap()
	}
	return false
}

// errStalled ends what the store does not get on with.
var errStalled = errors.New("the store does not answer")
