package files

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// patientClient lets a request that is under way end although its context has ended, for a while. The store may act on a request that breaks off
// at any time later: a part of it comes up in an upload that has been aborted, and an upload that is begun by it has no id to abort it by.
type patientClient struct {
	*s3.Client
	grace time.Duration
}

// linger returns a context that outlives ctx for the grace.
func (c patientClient) linger(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		late := time.AfterFunc(c.grace, cancel)
		context.AfterFunc(longer, func() { late.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// lingering calls one operation of the client, unless ctx has ended already.
func lingering[I, O any](ctx context.Context, c patientClient, do func(context.Context, I, ...func(*s3.Options)) (O, error), in I, opts []func(*s3.Options)) (O, error) {
	if err := ctx.Err(); err != nil {
		var none O
		return none, err
	}
	ctx, cancel := c.linger(ctx)
	defer cancel()
	return do(ctx, in, opts...)
}

// PutObject implements transfermanager.S3APIClient.
func (c patientClient) PutObject(ctx context.Context, in *s3.PutObjectInput, opts ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	return lingering(ctx, c, c.Client.PutObject, in, opts)
}

// CreateMultipartUpload implements transfermanager.S3APIClient.
func (c patientClient) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, opts ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	return lingering(ctx, c, c.Client.CreateMultipartUpload, in, opts)
}

// UploadPart implements transfermanager.S3APIClient.
func (c patientClient) UploadPart(ctx context.Context, in *s3.UploadPartInput, opts ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	return lingering(ctx, c, c.Client.UploadPart, in, opts)
}

// CompleteMultipartUpload implements transfermanager.S3APIClient.
func (c patientClient) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, opts ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	return lingering(ctx, c, c.Client.CompleteMultipartUpload, in, opts)
}
