package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestRefs: what an object refers to and that stays with its process, as a log, is the
// new code's, wherever that has it.
func TestRefs(t *testing.T) {
	const code = `
class Log { private $f; public $name; function __construct($name = 'log') { $this->name = $name; $this->f = fopen('php://stderr', 'w'); } }
class Room { public $users = []; private Log $log; function __construct($log) { $this->log = $log; } function says() { return count($this->users) . ' ' . ($this->log ? $this->log->name : 'null'); } }
class Chat {
    private $log;
    function __construct($log) { $this->log = $log; }
    function message($c, $data) {
        global $rooms;
        if ($data === 'put') { $rooms['hall'] = new Room($this->log); $rooms['hall']->users[$c->id] = $c; }
        $c->send($data === 'put' ? 'done' : (isset($rooms['hall']) ? $rooms['hall']->says() : 'no room'));
    }
}
class Talk extends Chat {}
class Around { private $in; function __construct($in) { $this->in = $in; } function message($c, $data) { $this->in->message($c, $data); } }
$rooms = [];
START
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [$chat, 'message'];
Workerman\Worker::runAll();`
	const alone, two = `$chat = new Chat(new Log);`, `$more = new Log('more'); $log = new Log; $chat = new Chat($log);`
	for name, x := range map[string]struct {
		before, after string // what the start does
		old, new      string // in its code
		says          string
		lost          string // what is said of the room, whose client is closed: another one asks
	}{
		"the same":             {before: alone, after: alone, says: "1 log"},
		"one more above":       {before: alone, after: `$chat = new Around(new Chat(new Log));`, says: "1 log"},
		"two above":            {before: alone, after: `$chat = new Around(new Around(new Chat(new Log)));`, says: "1 log"},
		"another property":     {before: alone, after: `class Logs { static $all = []; } Logs::$all[] = new Log; $chat = new Chat(Logs::$all[0]);`, old: "    private $log;\n    function __construct($log) { $this->log = $log; }", new: "    private $logger;\n    function __construct($log) { $this->logger = $log; }", says: "1 log"},
		"which of two by name": {before: two, after: strings.Replace(two, "new Chat($log)", "new Around(new Chat($log))", 1), says: "1 log"},
		"nowhere":              {before: alone, after: `$chat = new Chat(null);`, says: "no room", lost: "objects of Room in $rooms were not taken over, and those who were in them are closed with 1012: $log has nothing to be: the new code has no $log for it"},
		"one of two":           {before: alone, after: `$more = [new Log, new Log]; $chat = new Talk($more[0]);`, says: "no room", lost: "$log has nothing to be"},
		"may be null":          {before: alone, after: `$chat = new Chat(null);`, old: "private Log $log", new: "private ?Log $log", says: "1 null"},
		"without a type":       {before: alone, after: `$chat = new Chat(null);`, old: "private Log $log", new: "private $log", says: "1 null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := strings.Replace(code, "START", x.before, 1)
			after := strings.Replace(code, "START", x.after, 1)
			if x.old != "" {
				after = strings.ReplaceAll(after, x.old, x.new)
			}
			old, h, orders := movedFrom(t, before, after)
			who := uint64(big)
			if ends := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", who)); ends != (x.lost != "") || !strings.Contains(h.log.String(), x.lost) {
				t.Errorf("closed: %v\n%s\n%s", ends, old.log, h.log)
			} else if ends {
				who++
				h.open(script.Open, who, "")
				h.message(who, "get")
				orders = h.done()
			}
			if !slices.Contains(orders, fmt.Sprintf("SEND %d %s", who, x.says)) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}
