// A registry for measurements: go-containerregistry's own, its blobs as files in a folder, the bytes of its connections counted.
//
// Prints one line of JSON: the address of the registry, and the one that answers how many bytes it was sent and has sent.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var up, down atomic.Int64

type countedConn struct{ *net.TCPConn }

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	up.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	down.Add(int64(n))
	return n, err
}

// ReadFrom keeps sendfile(2): the kernel sends a blob without handing it to this process.
func (c countedConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	down.Add(n)
	return n, err
}

type countedListener struct{ *net.TCPListener }

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return countedConn{c}, nil
}

// The disk handler of the library hashes a blob to say how large it is. No registry does; here it would be counted for whoever asks.
type blobs struct {
	registry.BlobHandler
	registry.BlobPutHandler
	dir string
}

func onDisk(dir string) blobs {
	disk := registry.NewDiskBlobHandler(dir)
	return blobs{disk, disk.(registry.BlobPutHandler), dir}
}

func (b blobs) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	info, err := os.Stat(filepath.Join(b.dir, h.Algorithm, h.Hex))
	if err != nil {
		return 0, registry.ErrNotFound
	}
	return info.Size(), nil
}

func main() {
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	open := func() *net.TCPListener {
		l, err := net.ListenTCP("tcp", loopback)
		if err != nil {
			log.Fatal(err)
		}
		return l
	}
	served, counts := open(), open()
	quiet := log.New(io.Discard, "", 0)
	handler := registry.New(registry.WithBlobHandler(onDisk(os.Args[1])), registry.Logger(quiet))
	go func() {
		log.Fatal(http.Serve(counts, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]int64{"up": up.Load(), "down": down.Load()})
		})))
	}()
	fmt.Printf("{\"registry\":%q,\"counts\":%q}\n", served.Addr(), counts.Addr())
	log.Fatal(http.Serve(countedListener{served}, handler))
}
