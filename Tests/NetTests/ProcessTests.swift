import CLinux
import Core
import Glibc
import Testing

@testable import Net

@Suite struct ProcessTests {
  @Test("Privileges are not dropped to a user or group that does not exist")
  func unknownUser() {
    #expect(throws: PrivilegeError.unknownUser("no-such-user")) { try Privileges.drop(toUser: "no-such-user") }
    #expect(throws: PrivilegeError.unknownGroup("no-such-group")) {
      try Privileges.drop(toUser: "root", group: "no-such-group")
    }
  }

  @Test("A process that has become another user stays that user", .enabled(if: Privileges.isRoot))
  func drop() async {
    await #expect(processExitsWith: .success) {
      try Privileges.drop(toUser: "nobody")
      try #require(geteuid() != 0 && getuid() != 0 && getgid() != 0)
      // A second time there is nothing to do; another user is out of reach.
      try Privileges.drop(toUser: "nobody")
      #expect(throws: PrivilegeError.notRoot) { try Privileges.drop(toUser: "root") }
      try #require(unsafe open("/etc/shadow", O_RDONLY) < 0)
    }
  }

  @Test("The limit of descriptors is raised to the hard limit")
  func descriptors() async {
    await #expect(processExitsWith: .success) {
      var limit = rlimit(rlim_cur: 100, rlim_max: 200)
      _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      try #require(ProcessLimits.descriptors == ProcessLimits.Descriptors(current: 100, maximum: 200))
      try #require(ProcessLimits.raiseDescriptors() == ProcessLimits.Descriptors(current: 200, maximum: 200))
    }
  }

  @Test("Signals arrive as messages, in order")
  func signals() async {
    await #expect(processExitsWith: .success) {
      let mailbox = try Mailbox<Signal>()
      let thread = Signals.watch([.hangUp, .terminate]) { mailbox.send($0) }
      var seen: [Signal] = []
      for signal in [Signal.hangUp, .terminate, .hangUp] {
        thread.raise(signal.rawValue)
        while seen.last != signal { seen += mailbox.takeAll() }
      }
      try #require(seen == [.hangUp, .terminate, .hangUp])
    }
  }
}
