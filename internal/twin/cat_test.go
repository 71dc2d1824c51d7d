package twin
import ("testing";"strings";"os";"strconv")
func TestCat(t *testing.T){ n,_:=strconv.Atoi(os.Getenv("N")); m:=map[string][]int{}
 for seed:=range n { ev:=sequence(nil,uint64(seed),80); at,what:=disagreement(t,ev); if what==""{continue}; k:=strings.SplitN(what,"\n",2)[0]; if strings.HasPrefix(k,"frame"){ k="frames" }; k+=" | "+ev[at].note; m[k]=append(m[k],seed)}
 for k,l:=range m{ t.Log(len(l),k,l[:min(5,len(l))])}}
