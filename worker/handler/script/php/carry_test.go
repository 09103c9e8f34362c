package php_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// moved has one program put something down for a connection, and another one, that
// takes its place, say what it finds.
func moved(t *testing.T, before, after string) (h *host, orders []string) {
	t.Helper()
	_, h, orders = movedFrom(t, before, after)
	return h, orders
}

// movedFrom gives the host of the program before, too.
func movedFrom(t *testing.T, before, after string) (h, next *host, orders []string) {
	t.Helper()
	h = serve(t, program(t, before), "start")
	h.open(script.Open, big, "")
	h.message(big, "put")
	bound := h.done()
	if !slices.Contains(bound, fmt.Sprintf("SEND %d done", uint64(big))) {
		t.Fatalf("%q\n%s", bound, h.log)
	}
	bound = append(bound, h.numbersSeen()...)
	orders, carried := h.stop(script.Successor)
	n := 0
	for _, o := range append(bound, orders...) {
		switch o {
		case fmt.Sprintf("HELD+1 %d", uint64(big)):
			n++
		case fmt.Sprintf("HELD %d", uint64(big)):
			n--
		}
	}
	if n != 0 {
		t.Errorf("the client is closed at the reload\n%s", h.log)
	}
	var data []byte
	if carried != nil {
		var err error
		_, data, err = script.ParseCarry(carried)
		must(t, err)
	}
	next = serve(t, program(t, after), "start")
	if carried != nil {
		next.write(script.AppendCarry(nil, script.Carried, []uint64{big}, data))
	}
	next.open(script.Resume, big, "")
	taken := next.done()
	next.message(big, "get")
	return h, next, append(taken, next.done()...)
}

// TestCarryPlaces: where programs put what they know of connections, and a reload finds
// it, whatever else is there.
func TestCarryPlaces(t *testing.T) {
	for _, x := range []struct{ name, code, put, get, set string }{
		{"object beside the server", `class Chat { public $server; public $users = []; } $chat = new Chat;`,
			`global $chat; $chat->server = $server; $chat->users[$fd] = 1`, `global $chat; return isset($chat->users[$fd]) && $chat->server->exist($fd)`, ``},
		{"global number", `$admin = 0;`, `$GLOBALS['admin'] = $fd`, `return $GLOBALS['admin'] === $fd`, ``},
		{"static number", `class Reg { static ?int $admin = null; static int $other = 0; }`, `Reg::$admin = Reg::$other = $fd`, `return Reg::$admin === $fd && Reg::$other === $fd`, ``},
		{"number of the server", ``, `$server->boss = $fd`, `return $server->boss === $fd`, ``},
		{"number as text", `$seen = [];`, `$GLOBALS['seen'][] = (string)$fd`, `return $GLOBALS['seen'] === [(string)$fd]`, ``},
		{"queue", `$waiting = new SplQueue;`, `$GLOBALS['waiting']->enqueue($fd)`, `return $GLOBALS['waiting']->dequeue() === $fd`, ``},
		{"list", `$all = new ArrayObject;`, `$GLOBALS['all'][$fd] = 1`, `return isset($GLOBALS['all'][$fd])`, ``},
		{"queue of its own, which others know", `class Q extends SplQueue { function push($v): void { throw new Exception('no'); } } class Hub { public $q; } $hub = new Hub; $waiting = $hub->q = new Q;`, `$GLOBALS['waiting']->enqueue($fd)`, `global $waiting, $hub; return $waiting === $hub->q && $waiting->dequeue() === $fd`, ``},
		{"array of a size", `$seats = new SplFixedArray(3);`, `$GLOBALS['seats'][1] = $fd`, `return $GLOBALS['seats']->toArray() === [null, $fd, null]`, ``},
		{"iterator", `$all = new ArrayIterator;`, `$GLOBALS['all']['a'] = $fd`, `return $GLOBALS['all']['a'] === $fd`, ``},
		{"heaps", `class Top extends SplHeap { function compare($a, $b): int { return $a[0] <=> $b[0]; } } class P { public $q, $fd, $h; } $waiting = new SplPriorityQueue; $users = []; class R { public readonly Top $top; function __construct() { $this->top = new Top; } } $r = new R;`,
			`global $waiting, $users, $r; $p = $users[$fd] = new P; $p->q = $waiting; $p->fd = $fd; $p->h = new SplMinHeap; $p->h->insert($fd); $p->h->insert(5); $waiting->insert($fd, 2); $waiting->insert($p, [3]); $r->top->insert([1, $fd]); $r->top->insert([2, $p])`,
			`global $waiting, $users, $r; $p = $users[$fd]; return $p->q === $waiting && count($waiting) === 2 && $waiting->extract() === $p && $waiting->extract() === $fd && $p->h->extract() === 5 && $p->h->extract() === $fd && $r->top->extract() === [2, $p] && $r->top->extract() === [1, $fd]`, ``},
		{"heaps with a rule from the start", `class Top extends SplHeap { function __construct(private Closure $cmp) {} protected function compare($a, $b): int { return ($this->cmp)($a, $b); } } class Elo extends SplPriorityQueue { function __construct(private ?Closure $cmp = null) {} function compare($a, $b): int { return ($this->cmp)($a, $b); } } class Bag extends SplObjectStorage { function __construct(public Closure $say) {} }
class Hub { public Top $top; public $elo, $bag; } $rule = fn($a, $b) => $b <=> $a; $bids = new Top(fn($a, $b) => $b[0] <=> $a[0]); $hub = new Hub; $hub->top = new Top($rule); $hub->elo = new Elo($rule); $hub->bag = new Bag(fn() => 'here'); class P { public $in, $fd; }`,
			`global $bids, $hub; $p = new P; $p->in = [$bids, $hub->top, $hub->elo]; $p->fd = $fd; foreach ([3, 1, 2] as $n) { $bids->insert([$n, $p]); $hub->top->insert("$n-$fd"); $hub->top->insert($fd + $n - 3); $hub->elo->insert($n === 1 ? $p : $fd, $n); } $hub->bag[$p] = $fd`,
			`global $bids, $hub; [$n, $p] = $bids->extract(); return $n === 1 && $p->fd === $fd && $p->in === [$bids, $hub->top, $hub->elo] && count($bids) === 2 && count($hub->top) === 6 && $hub->elo->extract() === $p && count($hub->elo) === 2 && $hub->bag[$p] === $fd && ($hub->bag->say)() === 'here'`, ``},
		{"heap whose rule asks for what the start has made", `class Rule { public $users = [], $up; function __construct() { $this->up = fn() => 1; } } class By extends SplHeap { public $rule; function compare($a, $b): int { return ($this->rule->up)() * ($a <=> $b); } } $rule = new Rule; $lots = [];`,
			`global $rule, $lots; $rule->users[$fd] = 1; $lots['vase'] = new By; $lots['vase']->rule = $rule; foreach ([$fd - 1, $fd, $fd - 2] as $n) $lots['vase']->insert($n)`,
			`global $rule, $lots; return $lots['vase']->rule === $rule && count($lots['vase']) === 3 && $lots['vase']->extract() === $fd && $lots['vase']->extract() === $fd - 1`, ``},
		{"heap whose rule has thrown", `class By extends SplHeap { public $no = false; function compare($a, $b): int { if ($this->no) throw new Exception('no'); return $a <=> $b; } } $by = new By;`,
			`global $by; $by->insert($fd); $by->no = true; try { $by->insert(1); } catch (Exception $e) {}`, `return count($GLOBALS['by']) === 2`, ``},
		{"how queues give what is in them", `class Elo extends SplPriorityQueue { public $n = 1; function setExtractFlags($f): int { throw new Exception('no'); } } $lots = $users = [];`,
			`global $lots, $users; $lots = [new SplPriorityQueue, new SplPriorityQueue, new SplDoublyLinkedList, new ArrayObject([$fd], ArrayObject::ARRAY_AS_PROPS, 'RecursiveArrayIterator'), new Elo]; $lots[0]->setExtractFlags(SplPriorityQueue::EXTR_BOTH); $lots[1]->setExtractFlags(SplPriorityQueue::EXTR_PRIORITY); $lots[2]->setIteratorMode(SplDoublyLinkedList::IT_MODE_LIFO); $lots[2][] = $fd; foreach ([0, 1, 4] as $i) $lots[$i]->insert($fd, 7)`,
			`global $lots; return $lots[0]->top() === ['data' => $fd, 'priority' => 7] && $lots[1]->top() === 7 && $lots[2]->getIteratorMode() === SplDoublyLinkedList::IT_MODE_LIFO && $lots[3]->getFlags() === ArrayObject::ARRAY_AS_PROPS && $lots[3]->getIteratorClass() === 'RecursiveArrayIterator' && $lots[4]->top() === $fd`, ``},
		{"own __sleep for a cache", `class P { public $name = 'none', $said = 'no'; protected $room; private $fd; private $in = []; function __construct($fd) { $this->fd = $fd; $this->in['a'] = [$fd => 1]; $this->name = 'ann'; $this->room = new P2; $this->room->all[] = $this; } function __sleep() { return ['name']; } function __wakeup() { $this->said = 'yes'; } function get($fd) { return [$this->name, $this->said, $this->fd, $this->in, $this->room->all] === ['ann', 'yes', $fd, ['a' => [$fd => 1]], [$this]]; } } class P2 { public $all; } $users = [];`,
			`$GLOBALS['users'][$fd] = new P($fd)`, `return $GLOBALS['users'][$fd]->get($fd)`, ``},
		{"own __serialize for a cache", `class P implements Serializable { public $name, $fd, $log; private readonly P2 $room; function __construct($fd) { $this->fd = $fd; $this->log = function () {}; $this->room = new P2; $this->room->all[] = $this; } function __serialize(): array { return ['n' => 'ann']; } function __unserialize(array $d): void { $this->name = $d['n']; } function serialize() {} function unserialize($d) {} function get() { return [$this->name, $this->fd, $this->room->all[0] === $this]; } } class P2 { public $all; } $users = [];`,
			`$GLOBALS['users'][$fd] = new P($fd)`, `return $GLOBALS['users'][$fd]->get() === ['ann', $fd, true]`, ``},
		{"own __sleep beside a file", `class P { public $fd; public $log; function __construct($fd) { $this->fd = $fd; $this->__wakeup(); } function __sleep() { return []; } function __wakeup() { $this->log = fopen('php://stderr', 'w'); } } $users = [];`,
			`$GLOBALS['users'][$fd] = new P($fd)`, `$p = $GLOBALS['users'][$fd]; return $p->fd === $fd && fwrite($p->log, 'x') === 1`, ``},
		{"singletons that others know", `class One { private static ?One $i = null; public $all = []; private $in; protected $me; private function __construct() { $this->in = new SplObjectStorage; $this->me = $this; } private function __clone() {} static function i() { return self::$i ??= new self; } function __wakeup() { throw new Exception('Cannot unserialize a singleton.'); } function ok($fd) { return $this->me === $this && isset($this->all[$fd]) && $this->in->contains($this); } function in() { return $this->in; } }
class P { private One $one; public readonly One $same; public $any; function __construct(public $fd) { $this->one = $this->same = One::i(); $this->any = [One::i()]; } function ok() { return $this->one === One::i() && $this->same === One::i() && $this->any === [One::i()]; } } $users = [];`,
			`One::i()->all[$fd] = $GLOBALS['users'][$fd] = new P($fd); One::i()->in()[One::i()] = One::i()`, `return One::i()->ok($fd) && $GLOBALS['users'][$fd]->ok() && One::i()->all[$fd] === $GLOBALS['users'][$fd]`, ``},
		{"plain object", `$chat = (object)['rooms' => ['a' => (object)['users' => []]]]; class Hub { public $chat; } $hub = new Hub; $hub->chat = $chat;`,
			`$GLOBALS['chat']->rooms['a']->users[$fd] = 1`, `global $chat, $hub; return isset($chat->rooms['a']->users[$fd]) && $hub->chat === $chat`, ``},
		{"singleton", `class Hub { private static Hub $i; public $users = []; private function __construct() {} static function i() { return self::$i = self::$i ?? new Hub; } }`,
			`Hub::i()->users[$fd] = 1`, `return isset(Hub::i()->users[$fd])`, ``},
		{"typed", `class M { public $users = []; function __construct(int $n) {} } class R { static M $m; } R::$m = new M(1);`, `R::$m->users[$fd] = 1`, `return isset(R::$m->users[$fd])`, ``},
		{"interface", `interface I {} class M implements I { public array $users = []; } class R { static I $m; } R::$m = new M;`, `R::$m->users[$fd] = 1`, `return isset(R::$m->users[$fd])`, ``},
		{"union", `class R { static array|int $m = 0; }`, `R::$m = [$fd]`, `return R::$m === [$fd]`, ``},
		{"readonly", `class Srv extends Swoole\WebSocket\Server {} class R { function __construct(public readonly SplObjectStorage $s, public readonly ArrayObject $a) {} } $r = new R(new SplObjectStorage, new ArrayObject); class P { public $fd; }`,
			`global $r; $p = new P; $p->fd = $fd; $r->s->attach($p); $r->a[$fd] = 1`, `global $r; foreach ($r->s as $p) return $p->fd === $fd && isset($r->a[$fd])`, ``},
		{"closure beside what may not be empty", `interface I {} abstract class B { public array $users = []; } class M extends B implements I, Countable { function count(): int { return 0; } } class N { function __construct(public readonly I $in) {} } class Hub { public I $i; public B $b; public Countable|I $u; private $log; function __construct(public readonly M $r, public readonly N $n) { $this->i = new M; $this->b = new M; $this->u = new M; $this->log = function () {}; } function all() { return [$this->i, $this->b, $this->u, $this->r, $this->n->in]; } } $hub = new Hub(new M, new N(new M));`,
			`foreach ($GLOBALS['hub']->all() as $m) $m->users[$fd] = 1`, `global $hub; foreach ($hub->all() as $m) if (!isset($m->users[$fd])) return false; return true`, ``},
		{"graph", `class P { public $friends = []; } for ($i = 0; $i < 300; $i++) $p[] = new P; foreach ($p as $one) $one->friends = $p; $users = [];`,
			`$GLOBALS['users'][$fd] = 1`, `return isset($GLOBALS['users'][$fd])`, ``},
		{"circle", `class App { public $chat; public $me; public $users = []; } class Chat { public $app; } $app = new App; $app->me = $app; $app->chat = new Chat; $app->chat->app = $app;`,
			`global $app; $app->users[$fd] = 1`, `global $app; return isset($app->users[$fd]) && $app->me === $app && $app->chat->app === $app`, ``},
		{"one object by two names", `class U { public $name = ''; } $users = $rooms = [];`,
			`global $users, $rooms; $u = new U; $users[$fd] = $rooms['hall'][$fd] = $u`, `global $users, $rooms; return $users[$fd] === $rooms['hall'][$fd]`, ``},
		{"closure beside the map", `class Room { public $users = []; public $log; public $topic = 'none'; function __construct() { $this->log = function () { return 'here'; }; } } class Hub { public $room; function __construct() { $this->room = new Room; } } $hub = new Hub;`,
			`global $hub; $hub->room->users[$fd] = 1; $hub->room->topic = 'tea'; $hub->room->log = function () { return 'old'; }`, `global $hub; return isset($hub->room->users[$fd]) && $hub->room->topic === 'tea' && ($hub->room->log)() === 'here'`, ``},
		{"file beside the map", `class Hub { public $users = []; private $log; function __construct() { $this->log = fopen('php://stderr', 'w'); } function log() { return fwrite($this->log, 'x'); } } $hub = new Hub;`,
			`$GLOBALS['hub']->users[$fd] = 1`, `global $hub; return isset($hub->users[$fd]) && $hub->log() === 1`, ``},
		{"log of the server's and of a room's", `class Log { private $f; function __construct() { $this->f = fopen('php://stderr', 'w'); } function write() { return fwrite($this->f, 'x'); } } class Room { public $users = []; private Log $log; function __construct(Log $l) { $this->log = $l; } function log() { return $this->log; } } $log = new Log; $rooms = [];`,
			`global $rooms, $log; $rooms['hall'] = new Room($log); $rooms['hall']->users[$fd] = 1`, `global $rooms, $log; return isset($rooms['hall']->users[$fd]) && $rooms['hall']->log() === $log && $log->write() === 1`, ``},
		{"closures in arrays", `class Hub { public $state; private static array $all = []; function __construct() { $this->state = ['users' => [], 'say' => function () { return 'here'; }]; self::$all = ['hall' => ['users' => [], 'topic' => 'none', 'say' => $this->state['say']]]; } static function &all() { return self::$all; } } $hub = new Hub; ` +
			`$deep = ['hub' => new Hub, 'log' => function () {}];`,
			`global $hub, $deep; $hub->state['users'][$fd] = Hub::all()['hall']['users'][$fd] = $deep['hub']->state['users'][$fd] = 1; Hub::all()['hall']['topic'] = 'tea'; $hub->state['say'] = function () { return 'old'; }`,
			`global $hub, $deep; $hall = Hub::all()['hall']; return isset($hub->state['users'][$fd], $hall['users'][$fd], $deep['hub']->state['users'][$fd]) && $hall['topic'] === 'tea' && $hall['say']() === 'here' && $hub->state['say']() === 'here'`, ``},
		{"properties of lists", `class S extends SplObjectStorage { public $names = []; private $n = []; function put($fd) { $this[(object)['fd' => $fd]] = 1; $this->names[$fd] = $this->n[$fd] = 'ann'; return count($this); } function has($fd) { return isset($this->names[$fd], $this->n[$fd]) && count($this) === 1; } }` +
			` class A extends ArrayObject { public $names = []; private $n = []; function put($fd) { $this[$fd] = 1; $this->names[$fd] = $this->n[$fd] = 'ann'; } function has($fd) { return isset($this[$fd], $this->names[$fd], $this->n[$fd]) && count($this) === 1; } }` +
			` class Q extends SplQueue { public $names = []; private $n = []; function put($fd) { $this[] = $fd; $this->names[$fd] = $this->n[$fd] = 'ann'; } function has($fd) { return $this[0] === $fd && isset($this->names[$fd], $this->n[$fd]) && count($this) === 1; } }` +
			` class F extends SplFixedArray { public $names = []; private $n = []; function put($fd) { $this[1] = $fd; $this->names[$fd] = $this->n[$fd] = 'ann'; } function has($fd) { return $this[1] === $fd && isset($this->names[$fd], $this->n[$fd]) && count($this) === 2; } }` +
			` class H extends SplMinHeap { public $names = []; private $n = []; function put($fd) { $this->insert($fd); $this->names[$fd] = $this->n[$fd] = 'ann'; } function has($fd) { return $this->top() === $fd && isset($this->names[$fd], $this->n[$fd]) && count($this) === 1; } }` +
			` function all() { return [new S, new A, new Q, new F(2), new H]; } $all = all(); $empty = [new S, new A]; $later = [];`,
			`global $all, $later, $empty; foreach ($later = all() as $x) $x->put($fd); foreach ($all as $x) $x->put($fd); foreach ($empty as $x) $x->names[$fd] = 1`, `global $all, $later, $empty; foreach (array_merge($all, $later) as $x) { if (!$x->has($fd)) return false; } return isset($empty[0]->names[$fd], $empty[1]->names[$fd])`, ``},
		{"arrays that objects share", `class P { public $n; public $all = []; function __construct($n) { $this->n = $n; } } class H { public $in = []; } $h = new H; $h->in = [new P(1), new P(2), new P(3)]; foreach ($h->in as $p) get_object_vars($p); $later = []; function fill($x) { foreach ($x as $p) $p->all = $x; }`,
			`global $h, $later; $h->in[0]->fd = $fd; fill($h->in); foreach ([4, 5, 6] as $i) $later[] = new P($i); $later[0]->fd = $fd; foreach ($later as $p) get_object_vars($p); fill($later)`,
			`global $h, $later; foreach ([$h->in, $later] as $all) foreach ($all as $p) { if ($p->all !== $all) return false; } return count($h->in) === 3 && count($later) === 3 && $h->in[0]->fd === $fd`, ``},
		{"lists with what is readonly", `class Hub { public $rooms = []; } trait T { public $names = []; private int $n = 0; function knows() { global $hub; return $this->hub === $hub && $this->in === $hub && count($this->names) === 1 && $this->n === 1 && $this->names[0]->room === $this; } } class P { public $fd; public $room; }` +
			` abstract class Base extends SplObjectStorage { function __construct(public readonly Hub $hub) {} } class S extends Base { use T; public $in; function put($p) { $this[$this->names[] = $p] = ++$this->n; $this->in = $this->hub; } function has($p) { return $this[$p] === 1; } }` +
			` class A extends ArrayObject { use T; public $in; function __construct(public readonly Hub $hub) { $this->setFlags(ArrayObject::ARRAY_AS_PROPS); } function put($p) { $this['p'] = $this->names[] = $p; $this->n++; $this->in = $this->hub; } function has($p) { return $this['p'] === $p && $this->getFlags() === ArrayObject::ARRAY_AS_PROPS; } }` +
			` class Q extends SplQueue { use T; public $in; function __construct(public readonly Hub $hub) { $this->setIteratorMode(SplQueue::IT_MODE_DELETE); } function put($p) { $this[] = $this->names[] = $p; $this->n++; $this->in = $this->hub; } function has($p) { return $this[0] === $p && $this->getIteratorMode() & SplQueue::IT_MODE_DELETE; } }` +
			` class F extends SplFixedArray { use T; public $in; function __construct(public readonly Hub $hub) { parent::__construct(2); } function put($p) { $this[1] = $this->names[] = $p; $this->n++; $this->in = $this->hub; } function has($p) { return $this[1] === $p && count($this) === 2; } }` +
			` class H extends SplPriorityQueue { use T; public $in; function __construct(public readonly Hub $hub) { $this->__wakeup(); } function __wakeup() { $this->setExtractFlags(3); } function put($p) { $this->insert($this->names[] = $p, 7); $this->n++; $this->in = $this->hub; } function has($p) { return $this->top() === ['data' => $p, 'priority' => 7]; } }` +
			` abstract class Mid { function __construct(public readonly Hub $hub) {} } class O extends Mid { use T; public $in; function put($p) { $this->names[] = $p; $this->n++; $this->in = $this->hub; } function has($p) { return true; } } $hub = new Hub;`,
			`global $hub; foreach (['S', 'A', 'Q', 'F', 'H', 'O'] as $class) { $r = $hub->rooms[$class] = new $class($hub); $p = new P; $p->fd = $fd; $p->room = $r; $r->put($p); }`,
			`global $hub; foreach ($hub->rooms as $r) { if (!$r->knows() || $r->names[0]->fd !== $fd || !$r->has($r->names[0])) return false; } return count($hub->rooms) === 6`, ``},
		{"lists that callbacks make", `class S extends SplObjectStorage { public $fds = []; private $more; function put($fd) { $this->fds[$fd] = $this->more[$fd] = 1; $this[(object)['fd' => $fd]] = 1; } function has($fd) { return count($this) === 1 && isset($this->fds[$fd], $this->more[$fd]); } }` +
			` class Hub { public $lobby; public ?S $typed = null; public readonly S $once; static $of; function all() { return [$GLOBALS['room'], $this->lobby, $this->typed, $this->once, self::$of]; } } $room = null; $hub = new Hub;`,
			`global $hub, $room; $room = new S; $hub->lobby = new S; $hub->typed = new S; Hub::$of = new S; (function () { $this->once = new S; })->call($hub); foreach ($hub->all() as $s) $s->put($fd)`,
			`foreach ($GLOBALS['hub']->all() as $s) { if (!$s->has($fd)) return false; } return true`, ``},
		{"code that throws", `class L extends ArrayObject { function getIterator(): Iterator { throw new Exception('no'); } } class S extends SplObjectStorage { function __serialize(): array { throw new Exception('no'); } } ` +
			`$l = new L([1]); $s = new S; $users = [];`, `$GLOBALS['users'][$fd] = 1`, `return isset($GLOBALS['users'][$fd])`, ``},
		{"a property that may not be set", `class Strict { public $first = 0, $odd, $loose = false, $users = []; function __construct() { unset($this->odd); } function __set($n, $v) { if (!$this->loose) throw new Exception('no'); $this->$n = $v; } } $strict = new Strict;`,
			`global $strict; $strict->loose = true; $strict->odd = 7; $strict->loose = false; $strict->first = 1; $strict->users[$fd] = 1`,
			`global $strict; return isset($strict->users[$fd]) && $strict->first === 1 && !isset($strict->odd) && strpos(file_get_contents('/proc/self/fd/2'), '$odd stays as new code has it: no')`, ``},
		{"closures in what the server was given", `class Hub { public $users = []; public $say; function __construct() { $this->say = function () { return 'here'; }; } }`,
			`$server->hub->users[$fd] = 1; $server->hall['users'][$fd] = 1`, `return isset($server->hub->users[$fd], $server->hall['users'][$fd]) && ($server->hub->say)() === 'here' && $server->hall['say']() === 'here'`,
			`$server->hub = new Hub; $server->hall = ['users' => [], 'say' => $server->hub->say];`},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			code := x.code + `
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
` + x.set + `
$server->on('message', function ($server, $f) { $server->push($f->fd, $f->data === 'put' ? put($server, $f->fd) : (get($server, $f->fd) ? 'there' : 'gone')); });
$server->on('open', function () {});
function put($server, $fd) { ` + x.put + `; return 'done'; }
function get($server, $fd) { ` + x.get + `; }
$server->start();`
			h, orders := moved(t, code, code)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d there", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestCarryNewCode: what a program calls, and what it is set to, is the new code's; what
// its object knows is carried, also where only the callbacks have the object.
func TestCarryNewCode(t *testing.T) {
	for name, code := range map[string]string{
		"swoole": `
class Chat {
    private $server; public $users = []; public $limit = LIMIT;
    function __construct() { $this->server = new Swoole\WebSocket\Server('0.0.0.0', 9501); $this->server->set(['my' => LIMIT]); $this->server->on('message', [$this, 'METHOD']); }
    function METHOD($s, $f) { $this->users[$f->fd] = 1; $s->push($f->fd, $f->data === 'put' ? 'done' : 'METHOD ' . count($this->users) . " $this->limit " . $s->setting['my']); }
    function start() { $this->server->start(); }
}
(new Chat)->start();`,
		"closure": `
class Chat {
    public $users = []; public $limit = LIMIT;
    function start() {
        $s = new Swoole\WebSocket\Server('0.0.0.0', 9501); $s->set(['my' => LIMIT]);
        $s->on('message', function ($s, $f) { $this->users[$f->fd] = 1; $s->push($f->fd, $f->data === 'put' ? 'done' : 'METHOD ' . count($this->users) . " $this->limit " . $s->setting['my']); });
        $s->start();
    }
}
(new Chat)->start();`,
		"workerman": `
class Chat {
    public $users = []; public $limit = LIMIT;
    function METHOD($c, $data) { $this->users[$c->id] = $c; $c->send($data === 'put' ? 'done' : 'METHOD ' . count($this->users) . " $this->limit " . $c->worker->my); }
}
$chat = new Chat;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->my = LIMIT;
$w->onMessage = [$chat, 'METHOD'];
Workerman\Worker::runAll();`,
		"keys of an array": `
$st = ['users' => [], 'METHOD' => 'METHOD', 'in' => (object)['a' => ['a' => 1, 'nLIMIT' => LIMIT]], 'list' => range(1, LIMIT)];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) {
    global $st;
    $st['users'][$c->id] = $c;
    $c->send($data === 'put' ? 'done' : $st['METHOD'] . ' ' . count($st['users']) . " {$st['in']->a['nLIMIT']} " . count($st['list']) * 2);
};
Workerman\Worker::runAll();`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			version := func(method, limit string) string {
				return strings.NewReplacer("METHOD", method, "LIMIT", limit).Replace(code)
			}
			h, orders := moved(t, version("v1", "10"), version("v2", "20"))
			if !slices.Contains(orders, fmt.Sprintf("SEND %d v2 1 20 20", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestCarryNoPlace: what the new code has no place for costs those who are in it their
// connection, and nothing is lost in silence.
func TestCarryNoPlace(t *testing.T) {
	late := filepath.Join(t.TempDir(), "late.php")
	must(t, os.WriteFile(late, []byte("<?php class Late { static $users = []; }"), 0o600))
	code := `
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) { require_once '` + late + `'; Late::$users[$f->fd] = 1; $server->push($f->fd, 'done'); });
$server->start();`
	h, orders := moved(t, code, code)
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("$users was not taken over")

	// Only what a closure is beside could be carried, and the new code has no object yet.
	code = `
class Room { public $users = []; public $log; }
$room = null;
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) { global $room; $room = new Room; $room->log = function () {}; $room->users[$f->fd] = 1; $server->push($f->fd, 'done'); });
$server->start();`
	h, orders = moved(t, code, code)
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("only a part of this Room could be carried")

	// The same of an array, of which the closure is missing.
	code = `
$rooms = [];
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) { global $rooms; $rooms['hall'] = ['users' => [$f->fd], 'say' => function () {}]; $server->push($f->fd, 'done'); });
$server->start();`
	h, orders = moved(t, code, code)
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("only a part of this array could be carried, and the new code has none there with say")
	h, _ = moved(t, strings.Replace(code, "'say' => function () {}", "'all' => [[$f->fd, function () {}]]", 1), code)
	h.says("only a part of this array could be carried, and the new code has none there with what cannot go")

	// What a __sleep leaves out has connections, and cannot go.
	code = `
class User { public $in; function __sleep() { return []; } }
$users = [];
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) { global $users; $users[1] = new User; $users[1]->in = [$f->fd, function () {}]; $server->push($f->fd, 'done'); });
$server->start();`
	h, orders = moved(t, code, code)
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("a User in a map was not taken over, and those who were in it are closed with 1012")

	// A player whose game is readonly would come out with a copy of it.
	code = `
class Player { function __construct(public readonly Game $game, public int $fd) {} }
class Game {
    public $players = [];
    function message($server, $f) { $this->players[$f->fd] = new Player($this, $f->fd); $server->push($f->fd, 'done'); }
}
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', [new Game, 'message']);
$server->start();`
	h = serve(t, program(t, code), "start")
	h.open(script.Open, big, "")
	h.message(big, "put")
	h.done()
	h.numbersSeen()
	if orders, _ = h.stop(script.Successor); slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big))) {
		t.Errorf("the client stays, with a copy of the game: %q", orders)
	}
	h.says("$players cannot be carried over: $game of Player is readonly")

	// All of a hall know it, and it knows them all.
	code = `
class Player { public $hall; public $fd; }
class Hall { public $players = []; public $byName = []; }
$hall = new Hall;
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) { global $hall; for ($i = 0; $i < 50; $i++) { $p = new Player; $p->hall = $hall; $p->fd = $f->fd; $hall->players[] = $hall->byName["p$i"] = $p; } $server->push($f->fd, 'done'); });
$server->start();`
	h, orders = moved(t, code, strings.ReplaceAll(code, "$hall = new Hall", "$hall = []"))
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}

	code = `
class R { static $users = []; }
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) { R::$users[$f->fd] = 1; $server->push($f->fd, 'done'); });
$server->start();`
	h, orders = moved(t, code, strings.ReplaceAll(code, "$users", "$people"))
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
}

// TestCarryRenamed: what the code before had at its start and the new code has not, or has as
// something else, has no place in it, wherever it is; what callbacks have made since goes on.
func TestCarryRenamed(t *testing.T) {
	const hub = `class Hub { public $users = []; private $rooms; static $all = []; function __construct() { $this->rooms = new SplObjectStorage; } function rooms() { return $this->rooms; } } class Room { public $users = []; } class State { public $in = []; } class Game extends State {} `
	for _, x := range []struct{ name, code, put, old, new, says string }{
		{"global", `$users = [];`, `$GLOBALS['users'][$fd] = 1`, "users", "people", "$users was not taken over, and those who were in it are closed with 1012: the new code has none there"},
		{"property of the callbacks' object", ``, `$this->users[$fd] = 1`, "users", "people", "$users was not taken over"},
		{"private, of an object in a global", `$hub = new Hub;`, `$p = new Room; $p->users[$fd] = 1; $GLOBALS['hub']->rooms()->attach($p)`, "rooms", "halls", "$rooms of Hub was not taken over"},
		{"property of the server", `$server->users = [];`, `$server->users[$fd] = 1`, "server->users", "server->people", "$users was not taken over"},
		{"of an object that a callback has made", `$rooms = [];`, `$r = new Room; $r->users[$fd] = 1; $GLOBALS['rooms'][] = $r`, "class Room { public $users", "class Room { public $people", "$users of Room was not taken over"},
		{"an array for an object", `$users = new SplObjectStorage;`, `$p = new Room; $p->users[$fd] = 1; $GLOBALS['users']->attach($p)`, "$users = new SplObjectStorage", "$users = []", "$users was not taken over, and those who were in it are closed with 1012: it was SplObjectStorage and is array in the new code"},
		{"an object for an array", `$users = [];`, `$GLOBALS['users'][$fd] = 1`, "\n$users = [];", "\n$users = new SplObjectStorage;", "it was array and is SplObjectStorage in the new code"},
		{"an object for an array, of an object", `$hub = new Hub;`, `$GLOBALS['hub']->users[$fd] = 1`, "function __construct() {", "function __construct() { $this->users = new ArrayObject; ", "$users of Hub was not taken over, and those who were in it are closed with 1012: it was array and is ArrayObject in the new code"},
		{"another class", `$all = new State;`, `$GLOBALS['all']->in[$fd] = 1`, "$all = new State", "$all = new Room", "it was State and is Room in the new code"},
		{"another class since the start", `$state = new State;`, `$GLOBALS['state'] = new Game; $GLOBALS['state']->in[$fd] = 1`, "", "", ""},
		{"null at the start", `$users = []; $state = null;`, `$GLOBALS['state'] = new Game; $GLOBALS['state']->in[$fd] = 1`, "", "", ""},
		{"an array that is readonly", `class Lobby { private $log; function __construct(public readonly array $halls) { $this->log = function () {}; } } $lobby = new Lobby(['one' => new Room]);`, `$r = $GLOBALS['lobby']->halls['one']; $r->users[$fd] = 1`, "", "", ""},
		{"made in on('start'), which the next process does not run", `$server->on('start', function ($s) { $s->rooms = []; $GLOBALS['halls'] = []; });`, `$server->rooms[$fd] = $GLOBALS['halls'][$fd] = 1`, "$s->rooms = []; $GLOBALS['halls'] = [];", "", ""},
		{"static property, which is none any more", ``, `Hub::$all[$fd] = 1`, "static $all", "public $all", "$all was not taken over, and those who were in it are closed with 1012: it is no static property any more"},
		{"key of an array", `$st = ['users' => [], 'n' => 0];`, `$GLOBALS['st']['users'][$fd] = 1`, "'users' => []", "'members' => []", "$st['users'] was not taken over, and those who were in it are closed with 1012: the new code has none there"},
		{"key of an array behind a large one", `$words = array_fill(0, 30000, 7); $st = ['users' => [], 'n' => 0];`, `$GLOBALS['st']['users'][$fd] = 1`, "'users' => []", "'members' => []", "$st['users'] was not taken over"},
		{"key of an array in one", `$hub = new Hub; $hub->users = ['in' => ['users' => []], 'n' => 0];`, `$GLOBALS['hub']->users['in']['users'][$fd] = 1`, "'users' => []", "'members' => []", "$users['in']['users'] of Hub was not taken over"},
		{"key of an array with a closure in it", `$st = ['users' => [], 'f' => function () {}];`, `$GLOBALS['st']['users'][$fd] = 1`, "'users' => []", "'members' => []", "$st['users'] was not taken over"},
		{"key of an object of no class", `$st = (object)['users' => [], 'n' => 0];`, `$GLOBALS['st']->users[$fd] = 1`, "'users' => []", "'members' => []", "$st['users'] was not taken over"},
		{"an object for an array, at a key", `$st = ['users' => [], 'n' => 0];`, `$p = new Room; $p->users[$fd] = 1; $GLOBALS['st']['users'][] = $p`, "'users' => []", "'users' => new SplObjectStorage", "$st['users'] was not taken over, and those who were in it are closed with 1012: it was array and is SplObjectStorage"},
		{"key of a map that begins empty", `$rooms = [];`, `$GLOBALS['rooms']['hall'][$fd] = 1`, "$rooms = []", "$rooms = ['lobby' => []]", ""},
		{"key of an array that a callback has made", `$rooms = ['lobby' => []];`, `$GLOBALS['rooms']['hall'][$fd] = 1`, "'lobby' => []", "'bar' => []", ""},
		{"made by a callback", ``, `$GLOBALS['made'][$fd] = 1; $this->made[$fd] = 1`, "", "", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			code := hub + `#[AllowDynamicProperties] class Chat {
    public $users = [];
    function message($server, $f) { $f->data === 'put' && $this->put($server, $f->fd); $server->push($f->fd, $f->data === 'put' ? 'done' : 'stays'); }
    function put($server, $fd) { ` + x.put + `; }
}
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
` + x.code + `
$server->on('message', [new Chat, 'message']);
$server->start();`
			old, h, orders := movedFrom(t, code, strings.ReplaceAll(code, x.old, x.new))
			if ends := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))); ends != (x.says != "") {
				t.Errorf("closed: %v\n%s\n%s", ends, old.log, h.log)
			}
			if !strings.Contains(h.log.String(), x.says) {
				t.Errorf("the log is\n%s", h.log)
			}
		})
	}
}

// TestCarryNotTakenIn: where taking over what was carried ends with an error, who was in it is
// closed, and the others stay.
func TestCarryNotTakenIn(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c) { $c->send('here'); };
Workerman\Worker::runAll();`), "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{big}, []byte("not what serialize has made")))
	h.open(script.Resume, big, "")
	h.open(script.Resume, big+1, "")
	orders := h.done()
	h.message(big+1, "")
	orders = append(orders, h.done()...)
	if want := []string{fmt.Sprintf("END/1012 %d service restart", uint64(big)), fmt.Sprintf("SEND %d here", uint64(big+1))}; !slices.Equal(orders, want) {
		t.Errorf("%q, want %q", orders, want)
	}
	h.says("the 1 connections that were in it are closed with 1012")
}

// TestCarryRenamedRoot: the Worker is the one it was, whatever its class is called now.
func TestCarryRenamedRoot(t *testing.T) {
	code := `
class Chat extends Workerman\Worker { public $users = []; }
$w = new Chat('websocket://0.0.0.0:9501');
$w->onMessage = function ($c) use ($w) { $w->users[$c->id] = $c; $c->send('done'); };
Workerman\Worker::runAll();`
	for _, property := range []string{"users", "members"} {
		_, h, orders := movedFrom(t, code, strings.NewReplacer("Chat", "Talk", "users", property).Replace(code))
		ends := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big)))
		said := strings.Contains(h.log.String(), "$users was not taken over")
		if lost := property != "users"; ends != lost || said != lost {
			t.Errorf("%s: %q\n%s", property, orders, h.log)
		}
	}
}

// TestCarryMovedDown: a private property of a parent class, of an object that comes whole, is
// the one of its name that the class has now, wherever in its family.
func TestCarryMovedDown(t *testing.T) {
	const in = ` $in = []; function add($c) { $this->in[$c->id] = $c; } function in() { return count($this->in); } `
	version := func(classes string) string {
		return classes + `
$rooms = [];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) {
    global $rooms;
    if ($data === 'put') { $rooms['a'] = new Room; $rooms['a']->add($c); }
    $c->send($data === 'put' ? 'done' : 'in ' . $rooms['a']->in());
};
Workerman\Worker::runAll();`
	}
	for after, stays := range map[string]bool{
		`class Room { private` + in + `}`:                                                  true,
		`class Base {} class Room extends Base { private` + in + `}`:                       true,
		`class Base { protected` + in + `} class Room extends Base {}`:                     true,
		`class Main { private` + in + `} class Room extends Main {}`:                       true,
		`class Base { private` + in + `} class Room extends Base {}`:                       true,
		`class Room { private ` + strings.ReplaceAll(in, "in", "all") + `}`:                false,
		`class Room { private SplObjectStorage` + strings.Replace(in, "= []", "", 1) + `}`: false,
	} {
		h, orders := moved(t, version(`class Base { private`+in+`} class Room extends Base {}`), version(after))
		want := fmt.Sprintf("SEND %d in 1", uint64(big))
		if !stays {
			want = fmt.Sprintf("END/1012 %d service restart", uint64(big))
		}
		if !slices.Contains(orders, want) || strings.Contains(h.log.String(), "$in of Room was not taken over") == stays {
			t.Errorf("%s: %q\n%s", after, orders, h.log)
		}
	}
}

// TestCarryGone: objects that the new code cannot have, as their class is gone or not what it
// was, are left out alone, wherever they are; who is in one is closed, and the log names it.
func TestCarryGone(t *testing.T) {
	const code = `
enum Mood { case Glad; case Sad; }
class Topic { public array $x = []; public Mood $mood = Mood::Glad; public $fd; function __unserialize(array $d): void { foreach ($d as $k => $v) $this->$k = $v; } }
class Hot extends Topic { }
class Plain { public array $x = []; public $mood; public $fd; function __construct() { $this->mood = Mood::Glad; } }
class Held extends SplObjectStorage { public array $x = []; public $fd; }
class Hub { } $hub = new Hub;
class Near extends SplQueue { public array $x = []; public $fd; public readonly Hub $hub; function __construct() { $this->hub = $GLOBALS['hub']; } function in($fd) { $this[] = $fd; } }
class Opens { public array $x = []; public $mood; public $fd; function __sleep() { return ['x']; } function __wakeup() { } }
class Fine { private $topic; public $topics; function __construct($t = null) { $this->topic = $t; $this->topics = [$t]; } function clean() { return !$this->topic && !array_filter($this->topics); } }
class Keeps { public $fd, $all; function __construct($t) { $this->all = [$t, new Fine]; } function __sleep() { $this->all['fd'] = $this->fd; return ['fd']; } function n() { return count($this->all) - 1; } }
$all = ['users' => []]; $part = ['users' => [], 'log' => function () {}]; $in = [];
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) { $server->push($f->fd, $f->data === 'done' ? '' : ($f->data === 'put' ? put($f->fd) : 'has ' . get($f->fd))); });
function put($fd) {
    global $all, $part, $in;
    $t = new KIND;
    $all = ['users' => [$fd => 1], 'array' => [$t, new Fine], 'storage' => new SplObjectStorage, 'list' => new ArrayObject([$t, new Fine]), 'queue' => new SplQueue, 'fixed' => SplFixedArray::fromArray([$t, new Fine]), 'heap' => new SplPriorityQueue, 'keeps' => new Keeps($t), 'fine' => new Fine($t)];
    $all['storage'][new Fine] = $t; $all['storage'][$t] = 1; $all['storage'][new Fine] = 1;
    $all['queue'][] = $t; $all['queue'][] = new Fine; $all['heap']->insert($t, 1); $all['heap']->insert(new Fine, 1); $all['keeps']->fd = $fd;
    $part['users'] = ['a' => [$fd => 1, 'topic' => $t]];
    if (IN) { $in[] = $t; $t instanceof Near ? $t->in($fd) : $t->fd = $fd; }
    return 'done';
}
function get($fd) {
    global $all, $part;
    return count($all['users']) . count($all['array']) . count($all['storage']) . count($all['list']) . count($all['queue']) . count(array_filter($all['fixed']->toArray())) . count($all['heap']) . $all['keeps']->n() . count($part['users']['a']) . ($all['fine']->clean() ? ' clean' : '');
}
$server->start();`
	for _, x := range []struct{ name, kind, old, new, says string }{
		{"class", "Topic", "Topic", "Theme", "objects of Topic in $all were not taken over, and those who were in them are closed with 1012: the new code has no class Topic"},
		{"type", "Plain", "class Plain { public array $x = []", "class Plain { public ?int $x = null", "Cannot assign array to property Plain::$x of type ?int"},
		{"type in a collection", "Held", "SplObjectStorage { public array $x = []", "SplObjectStorage { public ?int $x = null", "Cannot assign array to property Held::$x of type ?int"},
		{"type beside what is readonly", "Near", "SplQueue { public array $x = []", "SplQueue { public self|int|null $x = null", "Cannot assign array to property Near::$x of type"},
		{"another collection", "Held", "Held extends SplObjectStorage", "Held extends ArrayObject", "closed with 1012: Held is a kind of ArrayObject in the new code, and was none"},
		{"a collection now", "Plain", "class Plain {", "class Plain extends SplQueue {", "closed with 1012: Plain is a kind of SplDoublyLinkedList in the new code, and was none"},
		{"case", "Plain", "Glad", "Merry", "Mood\\Glad in $all"},
		{"case in a typed property", "Topic", "Glad", "Merry", "objects of Topic in $all were not taken over, and those who were in them are closed with 1012: the new code"},
		{"enum", "Plain", "Mood", "Humour", "Mood\\Glad in $all"},
		{"what it restores", "Opens", "function __wakeup() { }", "function __wakeup() { throw new Exception('no database'); }", "objects of Opens in $all were not taken over, and those who were in them are closed with 1012: no database"},
		{"its own code", "Hot", "{ foreach ($d as $k", "{ throw new Exception('too old'); foreach ($d as $k", "objects of Hot in $all were not taken over, and those who were in them are closed with 1012: too old"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			alone := strings.HasPrefix(x.says, "Mood") // of the object its property
			for _, in := range []string{"true", "false"} {
				before := strings.NewReplacer("KIND", x.kind, "IN", in).Replace(code)
				old, h, orders := movedFrom(t, before, strings.ReplaceAll(before, x.old, x.new))
				if ends := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))); ends != (in == "true" && !alone) {
					t.Errorf("in one: %s, closed: %v\n%s\n%s", in, ends, old.log, h.log)
				}
				want := "has 111111111 clean"
				if alone {
					want = "has 123222222"
				}
				if in == "false" && !slices.Contains(orders, fmt.Sprintf("SEND %d %s", uint64(big), want)) {
					t.Errorf("%q\n%s\n%s", orders, old.log, h.log)
				}
				if !strings.Contains(h.log.String(), x.says) {
					t.Errorf("the log is\n%s", h.log)
				}
			}
		})
	}
}

// TestCarryGoneProperty: who has such an object as a property is closed, too.
func TestCarryGoneProperty(t *testing.T) {
	code := `
class User { public $name = ''; }
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) { $c->user = new User; $c->send('done'); };
Workerman\Worker::runAll();`
	h, orders := moved(t, code, strings.ReplaceAll(code, "User", "Member"))
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("objects of User in $user were not taken over")
}

// TestCarryNoHeap: who is in a heap that is none in the new code is closed, also where that has its rule from the start.
func TestCarryNoHeap(t *testing.T) {
	code := `
class Bids extends SplPriorityQueue { public $rule, $n = 0; function __construct() { $this->rule = fn($a, $b) => $a <=> $b; } function compare($a, $b): int { return ($this->rule)($a, $b); } }
$bids = new Bids; $all = [];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use ($bids, &$all) { $bids->insert($c, 1); $all[] = $bids; $c->send('done'); };
Workerman\Worker::runAll();`
	h, orders := moved(t, code, strings.NewReplacer(" extends SplPriorityQueue", "", "$bids->insert($c, 1);", "").Replace(code))
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("what is in a Bids was not taken over, and those who were in it are closed with 1012: it is no heap in the new code")
}

// TestCarryTwice: of two by one name the log says whose each is.
func TestCarryTwice(t *testing.T) {
	code := `
class Chat {
    public $users = []; static $all = [];
    function message($server, $f) { $GLOBALS['users'][$f->fd] = $server->users[$f->fd] = $this->users[$f->fd] = self::$all[$f->fd] = 1; $server->push($f->fd, 'done'); }
}
$users = [];
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->users = [];
$server->on('message', [new Chat, 'message']);
$server->start();`
	h, _, _ := movedFrom(t, code, code)
	h.says("carried over: $users of the server, $users of Chat at websocket://0.0.0.0:9501 message, $users of the globals, $all\n")
}

// TestCarryCaptured: variables that callbacks have captured go along, by the variable's name,
// also where closures of theirs have captured them; what cannot be written is said.
func TestCarryCaptured(t *testing.T) {
	const (
		maps  = `$rooms = []; $all = new ArrayObject; $chat = new Chat; $count = 0;`
		put   = `$count++; $rooms[$f->fd] = 'n'; $all[$f->fd] = 1; $chat->users[$f->fd] = 1;`
		get   = `count($rooms) . count($all) . count($chat->users) . $count`
		uses  = `use (&$rooms, $all, $chat, &$count)`
		inner = `$add = function ($f) use (&$rooms) { $rooms[$f->fd] = 1; }; $n = function () use (&$rooms) { return count($rooms); };`
	)
	for _, x := range []struct {
		name, vars, put, get, uses, old, new, says string
	}{
		{"arrays and objects", maps, put, get, uses, "", "", "1110"},
		{"a callback more above", maps, put, get, uses, "/* above */", `$rooms2 = []; $server->on('close', function () use (&$rooms2, $chat) {});`, "1110"},
		{"renamed", maps, put, get, uses, "$rooms", "$halls", ""},
		{"of another kind", maps, put, get, uses, "$rooms = []", "$rooms = new ArrayObject", ""},
		{"in closures in closures", inner, `$add($f);`, `$n()`, `use ($add, $n)`, "", "", "1"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			code := `class Chat { public $users = []; }
function main() {
    $server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
    ` + x.vars + ` /* above */
    $server->on('message', function ($server, $f) ` + x.uses + ` {
        if ($f->data === 'put') { ` + x.put + ` $server->push($f->fd, 'done'); } else { $server->push($f->fd, 'has ' . ` + x.get + `); }
    });
    $server->start();
}
main();`
			old, h, orders := movedFrom(t, code, strings.ReplaceAll(code, x.old, x.new))
			want := fmt.Sprintf("END/1012 %d service restart", uint64(big))
			if x.says != "" {
				want = fmt.Sprintf("SEND %d has %s", uint64(big), x.says)
			}
			if ends := strings.Contains(h.log.String(), "was not taken over"); !slices.Contains(orders, want) || ends != (x.says == "") {
				t.Errorf("%q\n%s\n%s", orders, old.log, h.log)
			}
		})
	}
}

// TestCarryCapturedGlobal: what a closure has captured that is a global, too, or in a place of
// any other kind, is the closure's in the next process as well, and holds nobody in this one.
func TestCarryCapturedGlobal(t *testing.T) {
	const (
		chat = `class Chat { public $users = []; public $in; static $one; function put($c) { $this->users[$c->id] = $c; return $this->users; } function users() { return $this->users; } }
$chat = new Chat;`
		on   = `$w->onMessage = function ($c, $data) use ($chat) { say($c, $data, $chat); };`
		room = chat + ` $chat->in = new Chat; `
	)
	for name, code := range map[string]string{
		"object":                       chat + on,
		"object of no class":           `$chat = new stdClass; $chat->users = []; ` + on,
		"array object":                 `$chat = new ArrayObject; ` + on,
		"storage":                      `$chat = new SplObjectStorage; ` + on,
		"queue":                        `$chat = new SplQueue; ` + on,
		"arrow function":               chat + `$w->onMessage = fn ($c, $data) => say($c, $data, $chat);`,
		"several closures":             chat + on + `$w->onClose = function ($c) use ($chat) { unset($chat->users[$c->id]); };`,
		"a timer of the start":         chat + on + `$w->onWorkerStart = function () { global $chat; Workerman\Timer::add(99, function () use ($chat) { count($chat->users); }); };`,
		"a closure in one":             chat + `$say = function ($c, $data) use ($chat) { say($c, $data, $chat); }; $w->onMessage = function ($c, $data) use ($say) { $say($c, $data); };`,
		"two globals":                  chat + `$room = $chat; ` + on,
		"a static property":            chat + `Chat::$one = $chat; ` + on,
		"only a static property":       chat + `Chat::$one = $chat; ` + on + ` unset($chat);`,
		"an object in one":             room + `$w->onMessage = function ($c, $data) use ($chat) { say($c, $data, $chat->in); };`,
		"an object in one, alone":      room + `$in = $chat->in; $w->onMessage = function ($c, $data) use ($in) { say($c, $data, $in); }; unset($in);`,
		"two, of which one has both":   room + `$in = $chat->in; $w->onMessage = function ($c, $data) use ($in, $chat) { say($c, $data, $in); };`,
		"one of the start, in a map":   chat + `$all = ['a' => ['b' => $chat]]; unset($chat); $w->onMessage = function ($c, $data) use ($all) { say($c, $data, $all['a']['b']); };`,
		"one of the start, in a list":  chat + `$all = [$chat]; unset($chat); $w->onMessage = function ($c, $data) use ($all) { say($c, $data, $all[0]); };`,
		"one of the start, in two":     chat + `$all = [$chat]; $w->onMessage = function ($c, $data) use ($all, $chat) { say($c, $data, $all[0] === $chat ? $chat : new Chat); };`,
		"with a closure beside it":     chat + `$chat->in = function () {}; ` + on,
		"in one with a closure":        chat + `$app = new Chat; $app->in = $chat; $app->log = function () {}; ` + on,
		"with a property of one class": chat + `class User { public Chat $of; public $c; function __construct($of, $c) { $this->of = $of; $this->c = $c; } } $w->onMessage = function ($c, $data) use ($chat) { $data === 'put' && $chat->users[$c->id] = new User($chat, $c); $c->send($data === 'put' ? 'done' : 'has ' . count($chat->users[$c->id]->of->users)); };`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := `
function say($c, $data, $chat) {
    if ($data === 'put') { $chat instanceof Chat ? $chat->put($c) : ($chat instanceof SplObjectStorage ? $chat->attach($c) : ($chat instanceof stdClass ? $chat->users[$c->id] = $c : $chat[] = $c)); }
    $c->send($data === 'put' ? 'done' : 'has ' . count($chat->users ?? $chat));
}
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
` + code + `
Workerman\Worker::runAll();`
			old, h, orders := movedFrom(t, code, code)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d has 1", uint64(big))) {
				t.Errorf("%q\n%s\n%s", orders, old.log, h.log)
			}
		})
	}
}

// TestCarryCapturedLater: who is in a timer of his own comes back, though all that it has was
// carried: nobody makes that timer again.
func TestCarryCapturedLater(t *testing.T) {
	h := serve(t, program(t, `
class User { public $c; }
$users = [];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c) { global $users; $u = new User; $u->c = $c; $users[$c->id] = $u; Workerman\Timer::add(99, function () use ($u) { $u->c->send('tick'); }); $c->send('done'); };
Workerman\Worker::runAll();`), "start")
	h.open(script.Open, big, "")
	h.message(big, "put")
	h.done()
	if orders, _ := h.stop(script.Successor); slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big))) {
		t.Errorf("the client stays: %q\n%s", orders, h.log)
	}
}

// TestCarryShut: whom a static of a callback has, or what one closure alone has captured,
// nobody can give to the next process: he is closed, and the log says so.
func TestCarryShut(t *testing.T) {
	for _, has := range []string{`use ($x) { static $said = [];`, `use (&$said) {`} {
		h := serve(t, program(t, `
function ears() { $x = 0; $said = []; return function ($server, $f) `+has+` $said[$f->fd] = 1; $server->push($f->fd, 'done'); }; }
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', ears());
$server->start();`), "start")
		h.open(script.Open, big, "")
		h.message(big, "put")
		h.done()
		if got := h.numbersSeen(); !slices.Equal(got, []string{fmt.Sprintf("HELD+1 %d", uint64(big))}) {
			t.Errorf("%s: a look says %q", has, got)
		}
		if orders, _ := h.stop(script.Successor); slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big))) {
			t.Errorf("%s: the client stays: %q", has, orders)
		}
		h.says("1 connections are in closures")
	}
}

// TestCarryOwner: who is carried knows the object of the callbacks afterwards, that of the
// new process, and not a copy that nobody who comes later is in.
func TestCarryOwner(t *testing.T) {
	for name, code := range map[string]string{
		"workerman": `
class Player { private Game $game; public $c; private $hands; function __construct(Game $g, $c) { $this->game = $g; $this->c = $c; } function all() { return $this->game->all(); } }
class Game {
    private $players = []; private $moves;
    function __construct() { $this->moves = ['go' => function () {}]; }
    function open($c) { $c->n = count($this->players); $this->players[$c->id] = new Player($this, $c); }
    function message($c, $data) { $c->send($data === 'put' ? 'done' : 'all ' . $this->players[$c->id]->all()); }
    function all() { return count($this->players); }
}
$game = new Game;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onWebSocketConnected = [$game, 'open'];
$w->onMessage = [$game, 'message'];
Workerman\Worker::runAll();`,
		"ratchet": `
class Player { public $game; public $c; function __construct($g, $c) { $this->game = $g; $this->c = $c; } }
class Game implements Ratchet\MessageComponentInterface {
    public $players; private $loop;
    function __construct() { $this->players = new SplObjectStorage; $this->loop = function () {}; }
    function onOpen(Ratchet\ConnectionInterface $c) { $this->players[$c] = new Player($this, $c); }
    function onMessage(Ratchet\ConnectionInterface $c, $data) { $c->send($data === 'put' ? 'done' : 'all ' . count($this->players[$c]->game->players)); }
    function onClose(Ratchet\ConnectionInterface $c) {}
    function onError(Ratchet\ConnectionInterface $c, Exception $e) { echo $e->getMessage(); }
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Game)), 9501)->run();`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, orders := moved(t, code, code)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d all 1", uint64(big))) {
				t.Fatalf("%q\n%s", orders, h.log)
			}
			h.open(script.Open, big+1, "")
			h.message(big, "get")
			if orders = h.done(); !slices.Contains(orders, fmt.Sprintf("SEND %d all 2", uint64(big))) {
				t.Errorf("with one more: %q\n%s", orders, h.log)
			}
		})
	}
}

// TestWeakMap: what a program files by a connection in a WeakMap it finds again in the next
// callback and after a reload, and whom it has so it does not keep when PHP is killed.
func TestWeakMap(t *testing.T) {
	const code = `
class User { public $said = []; }
class Chat {
    private WeakMap $users;
    private $rooms = [];
    function __construct() { $this->users = new WeakMap; $this->rooms['hall'] = new Room; }
    function message($c, $data) {
        if ($data === 'pass') { $c->send('passes'); return; }
        $u = $this->users[$c] ??= new User;
        $u->said[] = $data;
        $this->rooms['hall']->in[$c] ??= count($this->rooms['hall']->in);
        if ($data === 'leave') { unset($this->users[$c], $this->rooms['hall']->in[$c]); $c->send('leaves'); return; }
        $c->send($data === 'put' ? 'done' : implode(' ', $u->said) . ' ' . count($this->users) . ' ' . $this->rooms['hall']->in[$c]);
    }
}
class Room { public $in; private $log; function __construct() { $this->in = new WeakMap; $this->log = function () {}; } }
$chat = new Chat;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [$chat, 'message'];
Workerman\Worker::runAll();`
	h, orders := moved(t, code, code)
	if !slices.Contains(orders, fmt.Sprintf("SEND %d put get 1 0", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}

	h = serve(t, program(t, code), "start")
	looks := func(want ...string) {
		t.Helper()
		if got := h.numbersSeen(); !slices.Equal(got, want) {
			t.Errorf("a look says %q, want %q", got, want)
		}
	}
	h.open(script.Open, 1, "")
	h.message(1, "a")
	h.want("SEND 1 a 1 0", "HELD+1 1")
	h.open(script.Open, 2, "")
	h.message(2, "pass")
	h.want("SEND 2 passes", "HELD+1 2") // until it is known to be in no map
	looks("HELD 2")
	h.message(1, "b")
	h.want("SEND 1 a b 1 0")
	looks()
	h.message(1, "leave")
	h.want("SEND 1 leaves")
	looks("HELD 1")
	h.message(1, "c")
	h.want("SEND 1 c 1 0", "HELD+1 1")
	h.closed(1)
	h.want()
	h.message(2, "d")
	h.want("SEND 2 d 1 0", "HELD+1 2") // who has left is in it no more
}

// TestWeakLate: where the class that has the map comes with the first message, as composer's
// autoload has it, and makes it then, it knows them in the next callback, and so do
// WeakReferences, wherever they are.
func TestWeakLate(t *testing.T) {
	late := filepath.Join(t.TempDir(), "late.php")
	must(t, os.WriteFile(late, []byte(`<?php
class Late {
    private static ?WeakMap $map = null; private static ?WeakMap $same = null;
    static function say($c, $data) { self::$same = self::$map ??= new WeakMap; self::$map[$c] = (self::$map[$c] ?? '') . $data; return self::$map[$c] . ' ' . count(self::$map) . (self::$same === self::$map ? '' : ' two'); }
}`), 0o600))
	code := `
spl_autoload_register(function ($class) { $class === 'Late' && require '` + late + `'; });
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) { $said = Late::say($c, $data); $c->send($data === 'put' ? 'done' : $said); };
Workerman\Worker::runAll();`
	h, orders := moved(t, code, code)
	if !slices.Contains(orders, fmt.Sprintf("SEND %d putget 1", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.message(big, "!")
	h.want(fmt.Sprintf("SEND %d putget! 1", uint64(big)))

	must(t, os.WriteFile(late, []byte(`<?php
class Late {
    private static $f;
    static function ask($c, $data) {
        if ($data === 'put') { $r = WeakReference::create($c); self::$f = function () use ($r) { return $r->get() ? 'alive' : 'gone'; }; }
        if ($data === 'drop') { self::$f = null; return 'dropped'; }
        return (self::$f)();
    }
}`), 0o600))
	h = serve(t, program(t, strings.Replace(code, "Late::say", "Late::ask", 1)), "start")
	h.open(script.Open, big, "")
	h.message(big, "put")
	h.want(fmt.Sprintf("SEND %d done", uint64(big)), fmt.Sprintf("HELD+1 %d", uint64(big)))
	if got := h.numbersSeen(); len(got) > 0 {
		t.Errorf("a look says %q", got)
	}
	h.message(big, "get")
	h.want(fmt.Sprintf("SEND %d alive", uint64(big)))
	h.message(big, "drop")
	h.want(fmt.Sprintf("SEND %d dropped", uint64(big)))
	if got := h.numbersSeen(); !slices.Equal(got, []string{fmt.Sprintf("HELD %d", uint64(big))}) {
		t.Errorf("a look says %q", got)
	}
}
