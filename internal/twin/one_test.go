package twin
import ("testing";"os";"strings";"strconv")
func TestOne(t *testing.T){ for _,x:=range strings.Split(os.Getenv("S"),","){ n,_:=strconv.Atoi(x); ev:=sequence(nil,uint64(n),80); report(t,x,ev)} }
