package files

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"gocloud.dev/blob"

	"rollcall/handlers/export"
)

const (
	// partBytes is how much of a file goes into one part of an upload: 80 GB in the 10,000 parts that S3 takes. A file has at
	// most concurrentParts+2 of them in memory.
	partBytes       = 8 << 20
	concurrentParts = 2
	// grace is how long requests of an upload that is given up may still take, and then the removal of its parts. A stop of
	// the service waits for both.
	grace = 2 * time.Second
	// maxURLLife is how long S3 lets a URL serve.
	maxURLLife = 7 * 24 * time.Hour
	// uploadMark goes between the name of a file and the id of an upload of it that nobody has finished. Names of files have no
	// question mark.
	uploadMark = "?upload="
)

// openBucket opens the bucket of an S3 URL.
func openBucket(ctx context.Context, u *url.URL) (*blob.Bucket, *uploads, error) {
	if u.User != nil {
		return nil, nil, errors.New("credentials do not go into the URL; give them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or by a role")
	}
	if u.Path != "" && u.Path != "/" {
		return nil, nil, fmt.Errorf("a bucket has no path; write s3://%s?prefix=%s/", u.Host, strings.Trim(u.Path, "/"))
	}
	prefix := u.Query().Get("prefix")
	if prefix != "" && !strings.HasSuffix(prefix, "/") { // the store without a prefix would take these files for its own
		return nil, nil, fmt.Errorf("a prefix ends in a slash; write prefix=%s/", prefix)
	}
	b, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, nil, err
	}
	var client *s3.Client
	if !b.As(&client) {
		return nil, nil, errors.Join(errors.New("the driver of the bucket has no client of S3"), b.Close())
	}
	return b, &uploads{client: client, bucket: u.Host, prefix: prefix}, nil
}

// uploads are those of an S3 bucket that nobody has finished. They take space and cannot be read, and a listing of
// the bucket's files leaves them out.
type uploads struct {
	client *s3.Client
	bucket string
	prefix string // of all keys
}

// versioned tells whether the bucket keeps what is deleted from it as earlier versions.
func (u *uploads) versioned(ctx context.Context) (bool, error) {
	now, err := u.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: aws.String(u.bucket)})
	return err == nil && now.Status == types.BucketVersioningStatusEnabled, err
}

// tune bounds the memory of an upload and has its parts removed also when it ends by the end of its context.
func (u *uploads) tune(as func(any) bool) error {
	var manager *transfermanager.Client
	if !as(&manager) {
		return errors.New("the driver of the bucket has no manager of uploads")
	}
	*manager = *transfermanager.New(patientClient{u.client, grace}, func(o *transfermanager.Options) {
		o.PartSizeBytes = partBytes
		o.MultipartUploadThreshold = partBytes
		o.Concurrency = concurrentParts
		o.FailTimeout = grace
		o.RequestChecksumCalculation = u.client.Options().RequestChecksumCalculation
	})
	return nil
}

// listUploads yields the uploads whose keys begin with a prefix.
func (s *Store) listUploads(ctx context.Context, prefix string) iter.Seq2[export.StoredFile, error] {
	u := s.uploads
	next := func(pages *s3.ListMultipartUploadsPaginator) (*s3.ListMultipartUploadsOutput, error) {
		ctx, cancel := s.bounded(ctx)
		defer cancel()
		page, err := pages.NextPage(ctx)
		return page, s.explain(ctx, err)
	}
	return func(yield func(export.StoredFile, error) bool) {
		pages := s3.NewListMultipartUploadsPaginator(u.client, &s3.ListMultipartUploadsInput{
			Bucket: aws.String(u.bucket), Prefix: aws.String(u.prefix + prefix),
		})
		for pages.HasMorePages() {
			page, err := next(pages)
			if err != nil {
				yield(export.StoredFile{}, err)
				return
			}
			for _, up := range page.Uploads {
				if f, ok := u.file(up); ok && !yield(f, nil) {
					return
				}
			}
		}
	}
}

// file returns an upload as a file.
func (u *uploads) file(up types.MultipartUpload) (export.StoredFile, bool) {
	name, ok := parseKey(strings.TrimPrefix(aws.ToString(up.Key), u.prefix))
	name.Name += uploadMark + aws.ToString(up.UploadId)
	return export.StoredFile{Name: name, Modified: aws.ToTime(up.Initiated), Unfinished: true}, ok
}

// delete removes a file or an upload; one that is not there is no error. The driver would ask first whether the file is there, and take
// any answer without a body, such as that of a wrong bucket, for no.
func (u *uploads) delete(ctx context.Context, name export.FileName) error {
	file, id, unfinished := splitUpload(name)
	path := aws.String(u.prefix + key(file))
	if !unfinished {
		_, err := u.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(u.bucket), Key: path})
		return err
	}
	_, err := u.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: aws.String(u.bucket), Key: path, UploadId: aws.String(id)})
	var refused smithy.APIError
	if errors.As(err, &refused) && refused.ErrorCode() == "NoSuchUpload" {
		return nil
	}
	return err
}

// splitUpload returns the file and the id of an upload, and whether the name is that of one.
func splitUpload(n export.FileName) (file export.FileName, id string, ok bool) {
	file = n
	file.Name, id, ok = strings.Cut(n.Name, uploadMark)
	return file, id, ok
}

// signedLife returns how long the URL of a file that is to be served for a time is signed for: whole seconds, at least one, for none would
// mean the driver's default.
func signedLife(life time.Duration) time.Duration {
	return min(max(life.Truncate(time.Second), time.Second), maxURLLife)
}
