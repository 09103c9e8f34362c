<?php
namespace Swoole;

use Pushd\Fibers;
use Pushd\Program;
use Pushd\SwoolePipe;
use Pushd\SwooleProgram;

/**
 * Process is a function that runs beside the callbacks for as long as the server does. It
 * is no process here but a coroutine of the server's, and sees what the callbacks see: it
 * lets them run where it waits by sleep(), read(), a Channel and the like.
 */
class Process
{
    const IPC_NOWAIT = 256, PIPE_MASTER = 1, PIPE_WORKER = 2, PIPE_READ = 3, PIPE_WRITE = 4;

    const WAITING = 65536; // messages of either way
    const PAUSE = 1.0;     // seconds from its end to its next begin, as it is begun again

    public $pid = 0, $id = 0, $pipe = 0;

    private $f, $there, $back, $timeout = -1, $number; // see SwoolePipe

    public function __construct(callable $f, $redirect = false, $pipe = self::PIPE_WORKER, $coroutine = false)
    {
        $this->f = $f;
        $this->pid = (int)\getmypid();
    }

    /** @internal begins it */
    public function pushdServe(): void
    {
        if (\PHP_VERSION_ID < 80100 || Coroutine::create([$this, 'pushdRun']) === false) {
            Program::once('process', 'the function of addProcess() does not run: it needs coroutines, which are there from PHP 8.1 on');
        }
    }

    /** @internal is its coroutine */
    public function pushdRun(): void
    {
        $c = Fibers::current();
        $c->aside = true;
        $c->acts = $this->number = SwoolePipe::process(SwooleProgram::$all[0]) + $this->id;
        try {
            ($this->f)($this);
        } catch (\Pushd\TookTooLong $e) {
            \Pushd\say('pushd: the function of addProcess() has held up all callbacks and is ended: ' . self::where($e)
                . ' waits in PHP. Make it a program of its own that publishes (Pushd\publish, the HTTP API), or have it wait by sleep()' . "\n");
            return;
        } catch (\Throwable $e) {
            Program::uncaught($e);
        }
        \Pushd\Timers::add(self::PAUSE, [$this, 'pushdServe'], [], false);
    }

    private static function where(\Throwable $e): string
    {
        return $e->getFile() . ':' . $e->getLine();
    }

    public function start()
    {
        throw new \Error('Swoole\Process::start(): pushd starts the processes; Server::addProcess() runs the function beside the callbacks');
    }

    /** To the other side: its function, or the callbacks. */
    public function write($data)
    {
        return $this->line(true)->push((string)$data) ? \strlen((string)$data) : false;
    }

    /** From the other side; waits for it. */
    public function read($size = 8192)
    {
        return $this->line(false)->pop($this->timeout);
    }

    public function push($data)
    {
        return $this->write($data) !== false;
    }

    public function pop($size = 65536)
    {
        return $this->read($size);
    }

    public function useQueue($key = 0, $mode = 2, $capacity = -1)
    {
        return true;
    }

    public function statQueue()
    {
        return ['queue_num' => $this->line(false)->length(), 'queue_bytes' => 0];
    }

    /** Has send() and recv(). */
    public function exportSocket()
    {
        return $this;
    }

    public function send($data, $timeout = -1)
    {
        return $this->write($data);
    }

    public function recv($size = 65536, $timeout = -1)
    {
        return $this->line(false)->pop($timeout);
    }

    public function setTimeout($seconds)
    {
        $this->timeout = $seconds;
        return true;
    }

    public function setBlocking($blocking = true)
    {
    }

    public function close($which = 0)
    {
        return true;
    }

    public function name($name)
    {
        return true;
    }

    /** The line of messages that this side writes to, or reads from. */
    private function line(bool $writes): Coroutine\Channel
    {
        $this->there = $this->there ?? new Coroutine\Channel(self::WAITING);
        $this->back = $this->back ?? new Coroutine\Channel(self::WAITING);
        return (SwoolePipe::acts() === $this->number) === $writes ? $this->back : $this->there;
    }

    public static function signal($signal, $f = null, $flags = 0)
    {
        Program::once('signal', 'the signals are pushd\'s: what Process::signal() is told does not run; on("workerStop") does when the process ends');
        return true;
    }

    public static function alarm($microseconds, $type = 0)
    {
        return self::signal(0);
    }

    public static function kill($pid, $signal = 15)
    {
        return $pid > 0 && \function_exists('posix_kill') && \posix_kill((int)$pid, (int)$signal);
    }

    public static function wait($blocking = true)
    {
        return false;
    }

    public static function daemon($nochdir = true, $noclose = true, $pipes = [])
    {
        Program::once('daemon', '`start -d` makes a daemon of it: Process::daemon() does nothing');
        return true;
    }

    public static function setAffinity($cores)
    {
        return true;
    }

    public static function setPriority($which, $priority)
    {
        return true;
    }
}
