package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestWiring: an array that is as the start left it is the new code's, with whom the objects
// in it knew.
func TestWiring(t *testing.T) {
	const classes = `
class Room { public $in = []; function say($text) { foreach ($this->in as $c) $c->send($text . count($this->in)); } }
class Chat {
    public $in = [];
    function put($c) { $this->in[$c->id] = $c; $c->send('done'); }
    function get($c) { foreach ($this->in as $o) $o->send('chat ' . count($this->in)); }
    function loud($c) { foreach ($this->in as $o) $o->send('CHAT ' . count($this->in)); }
}
class Stats { public $n = 0; function put($c) {} function get($c) { $c->send('stats'); } }
class App {
    private $routes = [];
    static $all = [];
    function on($e, $f) { $this->routes[$e][] = $f; return $this; }
    function message($c, $data) { foreach ($this->routes[$data] ?? [] as $f) $f($c); }
}`
	const worker = `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = ON;
Workerman\Worker::runAll();`
	routes := func(start string) string {
		return classes + "\n" + start + strings.Replace(worker, "ON", "[$app, 'message']", 1)
	}
	modules := func(start string) string {
		return classes + "\n" + start + strings.Replace(worker, "ON", `function ($c, $data) { foreach ($GLOBALS['modules'] as $m) $m->$data($c); }`, 1)
	}
	rooms := func(start string) string {
		return classes + "\n" + start + strings.Replace(worker, "ON", `function ($c, $data) { foreach (App::$all as $name => $room) { if ($data === 'put') $room->in[$c->id] = $c; else $room->say("$name "); } $data === 'put' && $c->send('done'); }`, 1)
	}
	const app = `$chat = new Chat; $app = (new App)->on('put', [$chat, 'put'])->on('get', [$chat, 'get']); unset($chat);`
	for name, x := range map[string]struct {
		before, after string
		says          []string
	}{
		"the same":                 {routes(app), routes(app), []string{"chat 1"}},
		"another method":           {routes(app), routes(strings.Replace(app, "'get']", "'loud']", 1)), []string{"CHAT 1"}},
		"a renamed method":         {routes(app), strings.ReplaceAll(routes(app), "loud", "none"), []string{"chat 1"}},
		"a listener more":          {routes(app), routes(app + `$app->on('get', [new Stats, 'get']);`), []string{"chat 1", "stats"}},
		"a listener less":          {routes(app + `$app->on('get', [new Stats, 'get']);`), routes(app), []string{"chat 1"}},
		"a closure beside":         {routes(app + `$app->on('see', function () {});`), routes(app + `$app->on('get', function ($c) { $c->send('seen'); });`), []string{"chat 1", "seen"}},
		"modules":                  {modules(`$modules = [new Chat];`), modules(`$modules = [new Chat];`), []string{"chat 1"}},
		"a module more":            {modules(`$modules = [new Chat];`), modules(`$modules = [new Chat, new Stats];`), []string{"chat 1", "stats"}},
		"a module more, in front":  {modules(`$modules = [new Chat];`), modules(`$modules = [new Stats, new Chat];`), []string{"stats", "chat 1"}},
		"a module less":            {modules(`$modules = [new Stats, new Chat];`), modules(`$modules = [new Chat];`), []string{"chat 1"}},
		"the module is gone":       {modules(`$modules = [new Stats, new Chat];`), modules(`$modules = [new Stats];`), []string{"END"}},
		"a renamed list":           {modules(`$modules = [new Chat];`), strings.ReplaceAll(modules(`$modules = [new Chat];`), "modules", "parts"), []string{"chat 1"}},
		"rooms":                    {rooms(`App::$all = ['a' => new Room, 'b' => new Room];`), rooms(`App::$all = ['b' => new Room, 'a' => new Room];`), []string{"b 1", "a 1"}},
		"a room more":              {rooms(`App::$all = ['a' => new Room];`), rooms(`App::$all = ['a' => new Room, 'b' => new Room];`), []string{"a 1"}},
		"one of the rooms is gone": {rooms(`App::$all = ['a' => new Room, 'b' => new Room];`), rooms(`App::$all = ['a' => new Room];`), []string{"END"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h, orders := movedFrom(t, x.before, x.after)
			var said []string
			for _, o := range orders {
				if text, ok := strings.CutPrefix(o, fmt.Sprintf("SEND %d ", uint64(big))); ok {
					said = append(said, text)
				} else if o == fmt.Sprintf("END/1012 %d restart", uint64(big)) {
					said = append([]string{"END"}, said...)
				}
			}
			if x.says[0] == "END" && len(said) > 0 {
				said = said[:1]
			}
			if x.says[0] == "END" && !strings.Contains(h.log.String(), "and those who were in it are closed with 1012: the new code has no ") {
				t.Errorf("the log is\n%s", h.log)
			}
			if !slices.Equal(said, x.says) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestWrapped: an object of a callback that another one has around it now, or no more.
func TestWrapped(t *testing.T) {
	const classes = `
class Chat {
    public $in = [];
    function message($c, $data) { if ($data === 'put') $this->in[$c->id] = $c; $c->send($data === 'put' ? 'done' : 'in ' . count($this->in)); }
}
class Log { private $inner, $n = 0; function __construct($inner) { $this->inner = $inner; } function message($c, $data) { $this->n++; $this->inner->message($c, $data); } }
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [OBJECT, 'message'];
Workerman\Worker::runAll();`
	bare, wrapped, twice := strings.Replace(classes, "OBJECT", "new Chat", 1), strings.Replace(classes, "OBJECT", "new Log(new Chat)", 1), strings.Replace(classes, "OBJECT", "new Log(new Log(new Chat))", 1)
	for name, x := range map[string][2]string{
		"wrapped": {bare, wrapped}, "bare again": {wrapped, bare}, "twice": {bare, twice}, "once": {twice, wrapped}, "the same": {wrapped, wrapped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h, orders := movedFrom(t, x[0], x[1])
			if !slices.Contains(orders, fmt.Sprintf("SEND %d in 1", uint64(big))) || slices.Contains(orders, fmt.Sprintf("END/1012 %d restart", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}
