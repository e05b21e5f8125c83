#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Headless Chromium by the WebDriver protocol (https://www.w3.org/TR/webdriver2/), for tests: a page of
vmctl-serve is looked at, used with the keyboard alone, and asked for by a page of another origin.

browser.py live URL VM PID        kill -9 of PID shows in the list within a second
browser.py keyboard URL VM        details, a console that says "booted", and a stop, without a mouse
browser.py reconnect URL VM PROGRAM the server is started again by PROGRAM, which adds "again" to the console:
                                  that is shown, and an event of the moment before the page listens again
browser.py type URL VM            what is typed in the terminal is echoed there, and a key leads out of it
browser.py screen URL VM          the viewer shows the screen when its part is opened, in colours, and takes keys
browser.py plain URL VM           without xterm.js and noVNC: text, a line to type, and a picture
browser.py foreign URL TOKEN VM   another origin reads nothing and changes nothing
"""
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

LIMIT_S = 60
TAB, ENTER, ESCAPE = "\ue004", "\ue007", "\ue00c"


class Browser:
    def __init__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        self.session = ""
        for line in self.driver.stdout:
            if " on port " in line and "started successfully" in line:
                self.base = "http://127.0.0.1:%d" % int(line.rsplit(" ", 1)[1].strip(". \n"))
                break
        threading.Thread(target=self.driver.stdout.read, daemon=True).start()
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu"]}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        self.session = "/session/" + self.call("/session", {"capabilities": capabilities})["sessionId"]

    def call(self, path, body=None, method="POST"):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + self.session + path, data, {"Content-Type": "application/json"}, method=method)
        return json.load(urllib.request.urlopen(request, timeout=LIMIT_S))["value"]

    def open(self, url):
        self.call("/url", {"url": url})
        self.run("window.refusals = []; document.addEventListener('securitypolicyviolation',"
                 " (e) => window.refusals.push(e.violatedDirective + ' ' + e.blockedURI))")

    def run(self, script, *arguments):
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        return self.call("/execute/async", {"script": script, "args": list(arguments)})

    def press(self, key):
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def chord(self, held, key):
        actions = [{"type": "keyDown", "value": held}, {"type": "keyDown", "value": key},
                   {"type": "keyUp", "value": key}, {"type": "keyUp", "value": held}]
        self.call("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def close(self):
        try:
            self.call("", method="DELETE")
        finally:
            self.driver.kill()
            self.driver.wait()


def until(what, check):
    begun = time.monotonic()
    while not check():
        if time.monotonic() - begun > LIMIT_S:
            raise SystemExit("never: " + what)
    return time.monotonic() - begun


def state(browser, vm):
    return browser.run(
        "const row = [...document.querySelectorAll('#vms tr')].find((r) => r.querySelector('button').textContent === arguments[0]);"
        "return row ? row.children[1].textContent : null", vm)


def live(browser, url, vm, pid):
    browser.open(url)
    until(vm + " Ready", lambda: state(browser, vm) == "Ready")
    os.kill(int(pid), signal.SIGKILL)
    passed = until("another state", lambda: state(browser, vm) != "Ready")
    print("another state after %.2f s" % passed)
    if passed > 1:
        raise SystemExit("more than a second")


def focused(browser):
    return browser.run("return document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")


def keyboard(browser, url, vm):
    browser.open(url)
    until(vm + " Ready", lambda: state(browser, vm) == "Ready")

    def tab_to(text):
        for _ in range(30):
            if focused(browser) == text:
                return
            browser.press(TAB)
        raise SystemExit("Tab never comes to " + text)

    tab_to(vm)
    browser.press(ENTER)
    if focused(browser) != vm + ": Ready" or browser.run("return document.querySelectorAll('#conditions tr').length") < 3:
        raise SystemExit("no details, but " + focused(browser))
    until("the console", lambda: "booted" in browser.run(CONSOLE))
    browser.press(ESCAPE)
    if focused(browser) != vm:
        raise SystemExit("the focus is not where it was, but on " + focused(browser))
    tab_to("stop " + vm)
    browser.press(ENTER)
    until(vm + " Stopped", lambda: state(browser, vm) == "Stopped")
    nameless = browser.run(
        "return [...document.querySelectorAll('button, input, table, section')].filter((e) => !(e.textContent.trim() ||"
        " e.getAttribute('aria-label') || e.labels && e.labels.length)).map((e) => e.outerHTML)")
    if nameless:
        raise SystemExit("without a name: %s" % nameless)


def choose(browser, url, vm):
    browser.open(url)
    until(vm, lambda: state(browser, vm))
    browser.run("[...document.querySelectorAll('#vms button')].find((b) => b.textContent === arguments[0]).click()", vm)


# As a screen reader has it, which is what is in sight; or the text of a page without xterm.js.
CONSOLE = ("document.getElementById('terminal').scrollIntoView(); const read = document.querySelector('.xterm-accessibility-tree');"
           "return read ? [...read.children].map((row) => row.textContent).join('\\n') : document.getElementById('console').textContent")


def reconnect(browser, url, vm, program):
    choose(browser, url, vm)
    until(vm + " Ready", lambda: state(browser, vm) == "Ready")
    until("the console", lambda: "booted" in browser.run(CONSOLE))
    browser.run(
        "const real = window.fetch, path = '/v1/vms/' + arguments[0];"
        "window.fetch = async (asked, options) => {"
        "  if (asked === '/v1/events' && options.headers.Accept) {"
        "    const headers = { Authorization: options.headers.Authorization };"
        "    await real(path + '/stop', { method: 'POST', headers });"
        "    while ((await (await real(path, { headers })).json()).display !== 'Stopped');"
        "  }"
        "  return real(asked, options); };", vm)
    subprocess.check_call([program])
    until(vm + " Stopped", lambda: state(browser, vm) == "Stopped")
    events = "return [...document.querySelectorAll('#events li')].filter((e) => e.textContent.includes(arguments[0] + ' Stopped')).length"
    until("the event", lambda: browser.run(events, vm) == 1)
    until("the console", lambda: "again" in browser.run(CONSOLE))


def type_line(browser, url, vm):
    choose(browser, url, vm)
    until("the terminal", lambda: browser.run("return terminal !== null && document.getElementById('console').hidden"))
    until("the console", lambda: browser.run(CONSOLE).strip())
    browser.run("terminal.focus()")
    begun = time.monotonic()
    for key in "typed by hand":
        browser.press(key)
    until("an echo", lambda: "typed by hand" in browser.run(CONSOLE))
    print("echoed after %.2f s" % (time.monotonic() - begun))
    browser.press(ESCAPE) # is the guest's
    browser.press(ENTER)
    if not browser.run("return document.getElementById('terminal').contains(document.activeElement)"):
        raise SystemExit("the terminal has lost the focus to " + focused(browser))
    browser.chord("\ue009", "]")
    if focused(browser) != "Screen":
        raise SystemExit("Ctrl+] leads to " + focused(browser))
    expect_no_failure(browser)


def expect_no_failure(browser):
    failure = browser.run("return document.getElementById('failure').textContent")
    refused = browser.run("return refusals")
    if failure or refused:
        raise SystemExit("a failure is shown: %s, or the policy refused: %s" % (failure, refused))


COLOURS = (
    "const image = document.querySelector(arguments[0]), canvas = document.createElement('canvas');"
    "canvas.width = image.naturalWidth || image.width; canvas.height = image.naturalHeight || image.height;"
    "const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);"
    "const data = context.getImageData(0, 0, canvas.width, canvas.height).data;"
    "return new Set(new Uint32Array(data.buffer)).size")


def screen(browser, url, vm):
    choose(browser, url, vm)
    if not browser.run("return document.getElementById('viewer').hidden"):
        raise SystemExit("a screen that nobody asked for")
    browser.run("document.querySelector('#screen-part summary').click()")
    until("a screen", lambda: browser.run("const c = document.querySelector('#viewer canvas'); return c ? c.width : 0") >= 640)
    until("colours", lambda: browser.run(COLOURS, "#viewer canvas") > 1)
    name = browser.run("return document.querySelector('#viewer canvas').getAttribute('aria-label')")
    if vm not in name or "Ctrl+]" not in name:
        raise SystemExit("the screen's name is " + name)
    before = browser.run("return document.querySelector('#viewer canvas').toDataURL()")
    browser.run("document.querySelector('#viewer canvas').focus()")
    for key in "seen":
        browser.press(key)
    until("the keys on the screen",
          lambda: browser.run("return document.querySelector('#viewer canvas').toDataURL()") != before)
    browser.chord("\ue009", "]")
    if browser.run("return document.activeElement.id") != "provision":
        raise SystemExit("Ctrl+] leads to " + focused(browser))
    expect_no_failure(browser)
    browser.run("document.querySelector('#screen-part summary').click()")
    until("no viewer", lambda: browser.run("return viewer === null && document.getElementById('viewer').hidden"))


def plain(browser, url, vm):
    choose(browser, url, vm)
    until("the console", lambda: browser.run("return document.getElementById('console').textContent"))
    until("the line", lambda: not browser.run("return document.getElementById('typing').hidden"))
    browser.run("document.getElementById('line').focus()")
    for key in "typed by hand":
        browser.press(key)
    browser.press(ENTER)
    until("an echo", lambda: "typed by hand" in browser.run(CONSOLE))
    browser.run("document.querySelector('#screen-part summary').click()")
    until("a picture", lambda: browser.run("return document.getElementById('screen').naturalWidth") >= 640)
    colours = browser.run(COLOURS, "#screen")
    if colours < 2 or browser.run("return document.getElementById('screen').alt") != "the screen of " + vm:
        raise SystemExit("%d colours" % colours)
    if browser.run("return document.getElementById('failure').textContent"):
        raise SystemExit("a failure is shown")


def foreign(browser, url, token, vm):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.open("http://127.0.0.1:%d/" % server.server_port)
    tries = [
        ("/v1/vms", {}),
        ("/v1/vms", {"headers": {"Authorization": "Bearer " + token}}),
        ("/v1/vms", {"mode": "no-cors"}),
        ("/healthz", {}),
        ("/v1/vms/%s/stop" % vm, {"method": "POST"}),
        ("/v1/vms/%s/stop" % vm, {"method": "POST", "mode": "no-cors"}),
        ("/v1/vms/%s/stop" % vm, {"method": "POST", "headers": {"Authorization": "Bearer " + token}}),
    ]
    for path, options in tries:
        read = browser.run_async(
            "const done = arguments[2];"
            "fetch(arguments[0], arguments[1]).then((a) => a.text().then((t) => a.status + t), () => '').then(done)",
            url + path, options)
        if read.strip("0"):
            raise SystemExit("another origin reads %s with %s: %s" % (path, options, read))
    opened = browser.run_async(
        "const done = arguments[1], socket = new WebSocket(arguments[0], 'binary');"
        "socket.onopen = () => done(true); socket.onerror = () => done(false);", url.replace("http", "ws", 1) + "/v1/vms/%s/vnc" % vm)
    if opened:
        raise SystemExit("another origin sees the screen")
    if browser.run_async(
            "const done = arguments[1], frame = document.createElement('iframe'); frame.src = arguments[0];"
            "frame.onload = () => { try { done(frame.contentDocument ? frame.contentDocument.title : ''); }"
            " catch (e) { done(''); } }; document.body.append(frame);", url) == "vmctl":
        raise SystemExit("another origin shows the page")


if __name__ == "__main__":
    chromium = Browser()
    try:
        {"live": live, "keyboard": keyboard, "reconnect": reconnect, "screen": screen, "type": type_line, "plain": plain, "foreign": foreign}[sys.argv[1]](chromium, *sys.argv[2:])
    finally:
        chromium.close()
