<?php
namespace Pushd;

/** Incomplete: some process has not answered a question, or none was asked, so nobody knows who else is there. */
final class Incomplete extends \RuntimeException
{
    /** What is known: as many there are at least. */
    public $partial;

    public function __construct(string $message, $partial)
    {
        parent::__construct($message);
        $this->partial = $partial;
    }

    /** @return mixed what $of makes of the answer of all processes */
    static function unless(string $call, array $question, callable $of)
    {
        $answer = Link::ask($question);
        $known = $of($answer);
        if (($answer['complete'] ?? false) !== true) {
            throw new self("pushd: $call() is not known: " . ($answer['error'] ?? 'a process has not answered in time'), $known);
        }
        return $known;
    }
}
