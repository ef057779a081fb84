import Core
import Synchronization
import Testing

@testable import Net

/// Counts what it is sent, and looks at the clock at every turn.
private struct Collector: EventHandler {
  typealias Message = (sender: Int, number: Int)
  let expected: Int
  var last: [Int: Int] = [:]
  var received = 0
  var isInOrder = true
  var isRunning: Bool { received < expected }
  mutating func ready(token: UInt64, _ readiness: Readiness) {}
  mutating func receive(_ message: Message) {
    isInOrder = isInOrder && message.number == last[message.sender, default: -1] + 1
    last[message.sender] = message.number
    received += 1
  }
  mutating func endTurn() -> Instant { .never }
}

/// Asks to be called again a little later, some times.
private struct Sleeper: EventHandler {
  typealias Message = Never
  let world: any World
  let pause: Int64
  var rest: Int
  var deadline: Instant?
  var wasEarly = false
  var isRunning: Bool { rest > 0 }
  mutating func ready(token: UInt64, _ readiness: Readiness) {}
  mutating func receive(_ message: Never) {}
  mutating func endTurn() -> Instant {
    if let deadline { wasEarly = wasEarly || world.now < deadline }
    rest -= 1
    let next = world.now.advanced(byNanoseconds: pause)
    deadline = next
    return next
  }
}

@Suite struct MailboxTests {
  @Test("A full mailbox refuses, and takes messages again once it was emptied")
  func full() throws {
    let mailbox = try Mailbox<Int>(limit: 2)
    #expect(mailbox.send(1))
    #expect(mailbox.send(2))
    #expect(!mailbox.send(3))
    #expect(mailbox.takeAll() == [1, 2])
    #expect(mailbox.send(4))
    #expect(mailbox.takeAll() == [4])
  }

  @Test("Messages of several threads all arrive, those of one thread in order")
  func acrossThreads() throws {
    let senders = 4
    let count = 10_000
    let mailbox = try Mailbox<(sender: Int, number: Int)>()
    var threads: [OSThread] = []
    for sender in 0..<senders {
      threads.append(
        OSThread.spawn(name: "sender") {
          for number in 0..<count { mailbox.send((sender, number)) }
        })
    }
    var collector = Collector(expected: senders * count)
    try EventLoop().run(&collector, mailbox: mailbox)
    for thread in threads { thread.join() }
    #expect(collector.isInOrder)
    #expect(collector.received == senders * count)
  }

  @Test("A message sent before the loop runs is delivered")
  func beforeStart() throws {
    let mailbox = try Mailbox<(sender: Int, number: Int)>()
    mailbox.send((0, 0))
    var collector = Collector(expected: 1)
    try EventLoop().run(&collector, mailbox: mailbox)
    #expect(collector.received == 1)
  }

  @Test(
    "A handler is never called before the moment it asked for",
    arguments: [
      (EventLoop.TimerPrecision.milliseconds, Int64(1_500_000)), (.nanoseconds, 150_000), (.milliseconds, -5),
    ])
  func deadlines(precision: EventLoop.TimerPrecision, pause: Int64) throws {
    let loop = try EventLoop(precision: precision)
    var sleeper = Sleeper(world: loop, pause: pause, rest: 5)
    try loop.run(&sleeper)
    #expect(!sleeper.wasEarly)
    #expect(loop.turnCount == 4)
  }

  @Test("Random numbers differ between loops and within one")
  func random() throws {
    let one = try EventLoop()
    let two = try EventLoop()
    var seen: Set<UInt64> = []
    for _ in 0..<1000 {
      seen.insert(one.random())
      seen.insert(two.random())
    }
    #expect(seen.count == 2000)
  }
}
