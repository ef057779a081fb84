import Core
import Synchronization
import Testing

@testable import Net

/// Takes blocks when it is told to.
private final class Sink: LogSink {
  let isBusy = Atomic<Bool>(false)
  let blocks = Mutex<[String]>([])

  func submit(_ block: inout LogBlock) -> Bool {
    if isBusy.load(ordering: .relaxed) { return false }
    let text = String(decoding: block.buffer.array, as: UTF8.self)
    blocks.withLock { $0.append(text) }
    block.removeAll()
    return true
  }

  var taken: [String] { blocks.withLock { $0 } }
}

private func milliseconds(_ count: Int64) -> Instant { Instant(nanoseconds: count * 1_000_000) }

@Suite struct LogStreamTests {
  private func add(_ line: StaticString, to stream: LogStream, at now: Instant) {
    stream.buffer.append(line)
    stream.buffer.append("\n")
    stream.endLine(now: now)
  }

  @Test("Nothing is due while there are no lines")
  func empty() {
    let sink = Sink()
    let stream = LogStream(sink)
    #expect(stream.deadline == .never)
    stream.flush(now: .never)
    stream.flushAll()
    #expect(sink.taken.isEmpty)
  }

  @Test("Lines are handed over together when the oldest is a tenth of a second old")
  func age() {
    let sink = Sink()
    let stream = LogStream(sink)
    add("one", to: stream, at: milliseconds(5))
    add("two", to: stream, at: milliseconds(60))
    #expect(stream.deadline == milliseconds(105))
    stream.flush(now: milliseconds(104))
    #expect(sink.taken.isEmpty)
    stream.flush(now: milliseconds(105))
    #expect(sink.taken == ["one\ntwo\n"])
    #expect(stream.deadline == .never)
  }

  @Test("A full block is handed over with the line that fills it")
  func size() {
    let sink = Sink()
    let stream = LogStream(sink, blockSize: 10)
    add("1234", to: stream, at: milliseconds(1))
    add("5678", to: stream, at: milliseconds(1))
    #expect(sink.taken == ["1234\n5678\n"])
  }

  @Test("A sink that is busy is asked again a millisecond later, and nothing is lost")
  func busy() {
    let sink = Sink()
    let stream = LogStream(sink)
    add("one", to: stream, at: milliseconds(0))
    sink.isBusy.store(true, ordering: .relaxed)
    stream.flush(now: milliseconds(100))
    #expect(stream.deadline == milliseconds(101))
    sink.isBusy.store(false, ordering: .relaxed)
    add("two", to: stream, at: milliseconds(100))
    stream.flush(now: milliseconds(101))
    #expect(sink.taken == ["one\ntwo\n"])
  }
}
