import Testing

@testable import Cluster

@Suite("RevisionStage")
struct RevisionStageTests {
  private typealias Load = RevisionStage.Load

  /// A stage on node `a` of three that ends at 100, in which nodes did so much more than before.
  private func verdict(_ staged: Load, _ rest: Load, at moment: Int64 = 100) -> RevisionStage.Verdict {
    var stage = RevisionStage(of: ["a"], endsAt: 100)
    let before = Load(requests: 1000, failures: 500, microseconds: 9_000_000)
    func after(_ load: Load) -> Load {
      Load(
        requests: 1000 + load.requests, failures: 500 + load.failures, microseconds: 9_000_000 + load.microseconds)
    }
    for (id, name) in [("1", "a"), ("2", "b"), ("3", "c")] { stage.note(before, id: id, name: name) }
    stage.note(after(staged), id: "1", name: "a")
    stage.note(after(rest), id: "2", name: "b")
    return stage.verdict(at: moment)
  }

  private func load(_ requests: Int64, failing failures: Int64 = 0, milliseconds: Int64 = 1) -> Load {
    Load(requests: requests, failures: failures, microseconds: requests * milliseconds * 1000)
  }

  @Test("more failures than elsewhere end it before its time")
  func goesBackEarly() {
    let found = verdict(load(100, failing: 30), load(1000, failing: 10), at: 1)
    #expect(found == .goBack("30 % of 100 requests failed where it was staged, 1 % elsewhere"))
  }

  @Test("a few requests prove nothing, nor do failures that are everywhere")
  func waits() {
    #expect(verdict(load(19, failing: 19), load(1000), at: 1) == .wait)
    #expect(verdict(load(100, failing: 30), load(100, failing: 29), at: 1) == .wait)
    #expect(verdict(load(1000, failing: 9), load(1000), at: 1) == .wait)
  }

  @Test("answers that take much longer than elsewhere send it back at its end")
  func goesBackWhenSlow() {
    let found = verdict(load(100, milliseconds: 40), load(100, milliseconds: 10))
    #expect(found == .goBack("requests took 40 ms on average where it was staged, 10 ms elsewhere"))
    #expect(verdict(load(100, milliseconds: 40), load(100, milliseconds: 10), at: 99) == .wait)
  }

  @Test("it goes on at its end where nothing speaks against it, also without a request")
  func goesOn() {
    #expect(
      verdict(load(100), load(100, failing: 1))
        == .goOn("0 % of 100 requests failed where it was staged, 1 % elsewhere"))
    #expect(verdict(load(0), load(100)) == .goOn("no requests came to where it was staged"))
  }

  @Test("what a node did before the stage, or in an earlier life, does not count")
  func countsFromItsStart() {
    var stage = RevisionStage(of: ["a"], endsAt: 100)
    stage.note(load(500, failing: 500), id: "1", name: "a")
    stage.note(load(500, failing: 500), id: "9", name: "a")
    stage.note(load(530, failing: 500), id: "9", name: "a")
    #expect(stage.verdict(at: 100) == .goOn("0 % of 30 requests failed where it was staged, 0 % elsewhere"))
  }
}
