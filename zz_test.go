package diagnostics
import ("testing";"fmt";"net";"bufio";"io";"strings";"time";"sync";"sync/atomic";"math/rand/v2";"net/http";"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy")
func ver(r *rand.Rand) string { return []string{"HTTP/1.1","HTTP/1.1","HTTP/1.1","HTTP/1.0"}[r.IntN(4)] }
func TestZZ(t *testing.T){
	seed := uint64(time.Now().UnixNano())
	var conns atomic.Uint64
	var logmu sync.Mutex
	sent := map[string]string{}
	peer := testcaddy.Peer(t, func(conn net.Conn) {
		r:=rand.New(rand.NewPCG(seed,conns.Add(1)))
		br:=bufio.NewReader(conn)
		idle := time.AfterFunc(4*time.Second, func(){conn.Close()}); defer idle.Stop()
		for {
			q,err:=http.ReadRequest(br); if err!=nil {return}
			if r.IntN(4)>0 { io.Copy(io.Discard,q.Body) }
			var b strings.Builder
			for range r.IntN(3) { fmt.Fprintf(&b,"%s %d Something\r\n",ver(r),[]int{100,102,103,199,110}[r.IntN(5)]); if r.IntN(2)==0 {b.WriteString("Link: </a.css>; rel=preload\r\nContent-Length: 7\r\n")}; if r.IntN(8)==0 {b.WriteString("X: "+strings.Repeat("y",1200)+"\r\n")}; b.WriteString("\r\n") }
			status := []int{200,200,200,201,204,206,301,304,400,404,401,409,416,418,429}[r.IntN(15)]
			v:=ver(r)
			closes := v=="HTTP/1.0" || r.IntN(4)==0
			fmt.Fprintf(&b,"%s %d Fine\r\nServer: x%d\r\n",v,status,r.IntN(3))
			if r.IntN(8)==0 {b.WriteString("Big: "+strings.Repeat("z",2000)+"\r\n")}
			nobody := q.Method=="HEAD"||status==204||status==304
			body := strings.Repeat([]string{"a","\r\n0\r\n\r\n","0\r\n\r\n","HTTP/1.1 200 OK\r\n\r\n","x\n"}[r.IntN(5)], r.IntN(300))
			if r.IntN(6)==0 { body = body+strings.Repeat("q",20000)}
			form := r.IntN(3)
			if v=="HTTP/1.0" && form==1 {form=0}
			if nobody && form==2 {form=0}
			if form==2 {closes=true}
			if closes {b.WriteString("Connection: close\r\n")}
			switch form {
			case 0:
				if status!=204 {fmt.Fprintf(&b,"Content-Length: %d\r\n",len(body))}
				b.WriteString("\r\n"); if !nobody {b.WriteString(body)}
			case 1:
				if status!=204 && status!=304 { b.WriteString("Transfer-Encoding: chunked\r\n")}
				if r.IntN(2)==0 {b.WriteString("Trailer: X-T\r\n")}
				b.WriteString("\r\n")
				if !nobody {
					for rest:=body; rest!=""; { n:=1+r.IntN(len(rest)); ext:=""; if r.IntN(3)==0 {ext=";a=b"}; fmt.Fprintf(&b,"%x%s\r\n%s\r\n",n,ext,rest[:n]); rest=rest[n:] }
					b.WriteString("0\r\n"); if r.IntN(2)==0 {b.WriteString("X-T: 1\r\n")}; b.WriteString("\r\n")
				}
			case 2: b.WriteString("\r\n"+body)
			}
			if form!=2 && r.IntN(10)==0 && closes { b.WriteString("\r\n") }
			text:=b.String()
			logmu.Lock(); sent[q.URL.Path]=q.Method+" "+text[:min(len(text),700)]; logmu.Unlock()
			for rest:=text; rest!=""; { n:=len(rest); if r.IntN(3)==0 {n=1+r.IntN(len(rest))}; if _,err:=io.WriteString(conn,rest[:n]); err!=nil {return}; rest=rest[n:]; if rest!="" && r.IntN(5)==0 {time.Sleep(time.Duration(r.IntN(3))*time.Millisecond)} }
			if closes {return}
			if r.IntN(4)==0 { // what was not read
				io.Copy(io.Discard,q.Body)
			} else {io.Copy(io.Discard,q.Body)}
		}
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+peer)
	var wg sync.WaitGroup
	var n atomic.Uint64
	for w:=range 6 { wg.Go(func(){
		r:=rand.New(rand.NewPCG(seed,uint64(1000+w)))
		for range 700 {
			m := []string{"GET","GET","HEAD","POST","PUT","OPTIONS"}[r.IntN(6)]
			var body io.Reader
			if m=="POST"||m=="PUT" {body=strings.NewReader(strings.Repeat("b",r.IntN(3000)))}
			q,_:=http.NewRequest(m,c.URL+fmt.Sprintf("/p%d",n.Add(1)),body)
			res,err:=testcaddy.Client.Do(q); if err!=nil {continue}
			io.Copy(io.Discard,res.Body); res.Body.Close()
		}
	})}
	wg.Wait()
	time.Sleep(300*time.Millisecond)
	seen:=map[string]int{}
	for _,f:=range c.Failures(){ seen[f.Cause]++; if seen[f.Cause]<=3 { t.Log(f.Cause,f.Outcome,f.Status,f.Summary,f.Evidence,f.Error,f.Request.Method,f.Request.URI, fmt.Sprintf("%q",sent[f.Request.URI]))} }
	t.Log("total",n.Load(),seen)
}
