import Core
import Glibc
import Testing

@testable import Net

@Suite struct LogWriterTests {
  private func path(_ name: String) -> String { "/tmp/sluice-test-\(getpid())-\(name).log" }

  private func contents(_ path: String) -> String {
    let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { return "" }
    let file = Descriptor(number)
    var all: [UInt8] = []
    while true {
      let block = unsafe [UInt8](unsafeUninitializedCapacity: 65536) { room, count in
        count = max(unsafe read(file.number, room.baseAddress, 65536), 0)
      }
      if block.isEmpty { return String(decoding: all, as: UTF8.self) }
      all += block
    }
  }

  private func add(_ line: String, to stream: LogStream, at now: Instant = Instant(nanoseconds: 0)) {
    stream.buffer.append(utf8: line)
    stream.buffer.append("\n")
    stream.endLine(now: now)
  }

  @Test("A file that cannot be opened is an error")
  func unopenable() {
    #expect(throws: NetworkError.refused) { _ = try LogWriter(.file(path: "/nonexistent/x.log")) }
  }

  @Test("A full disk is counted and ends nothing")
  func fullDisk() throws {
    let writer = try LogWriter(.file(path: "/dev/full"))
    let stream = LogStream(writer)
    add("one", to: stream)
    add("two", to: stream)
    stream.flushAll()
    writer.close()
    #expect(writer.statistics == LogWriter.Statistics(writtenLines: 0, droppedLines: 2, failedWrites: 1))
  }

  @Test("A pipe whose reader has gone is counted and ends nothing")
  func brokenPipe() throws {
    let path = path("pipe")
    #expect(unsafe mkfifo(path, 0o600) == 0)
    defer { _ = unsafe unlink(path) }
    let reader = unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    let writer = try LogWriter(.file(path: path))
    _ = Glibc.close(reader)
    let stream = LogStream(writer)
    add("one", to: stream)
    stream.flushAll()
    writer.close()
    #expect(writer.statistics == LogWriter.Statistics(writtenLines: 0, droppedLines: 1, failedWrites: 1))
  }

  @Test("Closing gives up on a reader that does not read")
  func stuckReader() throws {
    let path = path("stuck")
    #expect(unsafe mkfifo(path, 0o600) == 0)
    defer { _ = unsafe unlink(path) }
    let reader = Descriptor(unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC))
    let writer = try LogWriter(.file(path: path))
    let stream = LogStream(writer)
    for _ in 0..<2_000 { add(String(repeating: "x", count: 99), to: stream) }
    stream.flushAll()
    writer.close()
    let statistics = writer.statistics
    #expect(statistics.writtenLines > 0 && statistics.droppedLines > 0)
    #expect(statistics.writtenLines + statistics.droppedLines == 2_000)
    _ = reader.number
  }

  @Test("Lines that find the queue full or closed are dropped and counted")
  func fullQueue() throws {
    let path = path("queue")
    defer { _ = unsafe unlink(path) }
    let writer = try LogWriter(.file(path: path), queueLimit: 10)
    let stream = LogStream(writer)
    add("longer than the queue", to: stream)
    stream.flushAll()
    add("fits", to: stream)
    stream.flushAll()
    writer.close()
    add("late", to: stream)
    stream.flushAll()
    #expect(writer.statistics == LogWriter.Statistics(writtenLines: 1, droppedLines: 2, failedWrites: 0))
    #expect(contents(path) == "fits\n")
  }

  @Test("After a rename and a reopen lines go to a new file")
  func reopen() throws {
    let path = path("rotate")
    defer {
      _ = unsafe unlink(path)
      _ = unsafe unlink(path + ".1")
    }
    let writer = try LogWriter(.file(path: path))
    let stream = LogStream(writer)
    add("old", to: stream)
    stream.flushAll()
    while writer.statistics.writtenLines < 1 { sched_yield() }
    #expect(unsafe rename(path, path + ".1") == 0)
    writer.reopen()
    add("new", to: stream)
    stream.flushAll()
    writer.close()
    #expect(contents(path + ".1") == "old\n")
    #expect(contents(path) == "new\n")
  }

  @Test("Lines of several loops stay whole and none is lost")
  func severalLoops() throws {
    let path = path("loops")
    defer { _ = unsafe unlink(path) }
    let writer = try LogWriter(.file(path: path))
    let threads = (0..<4).map { number in
      OSThread.spawn(name: "loop") {
        let stream = LogStream(writer, blockSize: 1000)
        for line in 0..<5_000 {
          stream.buffer.append(utf8: "\(number) \(line)\n")
          stream.endLine(now: Instant(nanoseconds: 0))
        }
        stream.flushAll()
      }
    }
    for thread in threads { thread.join() }
    writer.close()
    let lines = contents(path).split(separator: "\n")
    #expect(lines.count == 20_000)
    #expect(Set(lines).count == 20_000)
    #expect(writer.statistics.writtenLines == 20_000)
  }

  @Test("A block that was written is filled again, and says nothing of its former lines")
  func spares() throws {
    let path = path("spares")
    defer { _ = unsafe unlink(path) }
    let writer = try LogWriter(.file(path: path))
    let stream = LogStream(writer)
    var filled: [ObjectIdentifier] = []
    for line in 1...4 {
      filled.append(ObjectIdentifier(stream.buffer))
      add(String(repeating: "\(line)", count: LogStream.defaultBlockSize), to: stream)
      while writer.statistics.writtenLines < line { sched_yield() }
    }
    writer.close()
    #expect(filled[1] != filled[2])
    #expect(filled[1] == filled[3])
    let lines = contents(path).split(separator: "\n")
    #expect(lines.map { Set($0) } == [["1"], ["2"], ["3"], ["4"]])
    #expect(lines.allSatisfy { $0.utf8.count == LogStream.defaultBlockSize })
  }

  @Test("Standard output is a destination like any other")
  func standardOutput() async throws {
    let result = try await #require(processExitsWith: .success, observing: [\.standardOutputContent]) {
      let writer = try LogWriter(.standardOutput)
      let stream = LogStream(writer)
      stream.buffer.append("{\"status\":200}\n")
      stream.endLine(now: Instant(nanoseconds: 0))
      stream.flushAll()
      writer.close()
    }
    let output = String(decoding: result.standardOutputContent, as: UTF8.self)
    #expect(output.split(separator: "\n").contains("{\"status\":200}"))
  }
}
