"""The part of the chat that is told what to do in words: slash commands, and what the palette offers."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from difflib import get_close_matches
from inspect import isawaitable
from pathlib import Path

from textual import on, work
from textual.widgets import TextArea

from dspark_local.answer_stream import ClientEvent
from dspark_local.errors import DsparkError
from dspark_local.paths import write_atomically
from dspark_tui.actions import ACTIONS, Action
from dspark_tui.asking_screen import AskingScreen
from dspark_tui.chat_settings import ChatSettings
from dspark_tui.editor import edit_file, edit_text
from dspark_tui.engine_link import EngineLink
from dspark_tui.export import export, export_path
from dspark_tui.help_screen import HelpScreen
from dspark_tui.importing import read_conversations
from dspark_tui.keymap import keymap
from dspark_tui.prompt_history import earlier_prompts
from dspark_tui.settings_example import example
from dspark_tui.settings_file import ChatFile, load_settings, save_settings, settings_path
from dspark_tui.settings_notice import SettingsNotice
from dspark_tui.slash import find, needs_argument, unknown, usage
from dspark_tui.slash_list import SlashList
from dspark_tui.store import ConversationStore
from dspark_tui.widgets.composer import Composer
from dspark_tui.widgets.welcome import Welcome

_LONG_HINT_SECONDS = 6.0


class CommandsPart(AskingScreen):
    """Obeys actions by their names."""

    def __init__(self, link: EngineLink, settings: ChatSettings, store: ConversationStore) -> None:
        super().__init__(link, settings, store)
        self._composer.load_history = lambda: earlier_prompts(store)
        self._slash_list = SlashList(self._composer, self.offers)
        self.kept_theme = ""

    async def on_mount(self) -> None:
        """The list of commands stands right over the box."""
        await self._above_box.mount(self._slash_list)
        await self.follow(self._settings.file)
        self.observers.append(self._forget_settings_notice)

    def _forget_settings_notice(self, event: ClientEvent | None) -> None:
        if event is None:  # a new answer: what was wrong has been seen
            self.query(SettingsNotice).remove()

    def offers(self, action: Action) -> bool:
        """Whether it makes sense just now."""
        match action.needs:
            case "answer":
                return self.is_answering
            case "quiet":
                return not self.is_answering
            case "turns":
                return bool(self.conversation.turns) and not self.is_answering
            case _:
                return True

    def offered(self) -> list[Action]:
        """What the palette lists."""
        return [action for action in ACTIONS if action.title and self.offers(action)]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc closes the list of commands before it stops anything."""
        if action == "stop" and self._slash_list.is_open:
            return False
        return super().check_action(action, parameters)

    @on(TextArea.Changed)
    def _suggest(self, event: TextArea.Changed) -> None:
        if event.text_area is self._composer:
            self._slash_list.suggest(self._composer.text)

    async def on_composer_commanded(self, message: Composer.Commanded) -> None:
        """Obey, or say which command was meant."""
        action = find(message.name)
        if action is None:
            self.hint(unknown(message.name), _LONG_HINT_SECONDS)
        elif needs_argument(action) and not message.argument:
            self.hint(f"{usage(action)}: {action.title}.", _LONG_HINT_SECONDS)
            self._composer.write(f"/{action.slash} ")
        elif message.argument and not action.argument:
            self.hint(f"/{action.slash} takes nothing after it.", _LONG_HINT_SECONDS)
        else:
            self._composer.take_command()
            await self._obey(action, message.argument)

    async def _obey(self, action: Action, argument: str) -> None:
        takes_argument = getattr(self, f"slash_{action.slash}", None) if action.argument else None
        if takes_argument is None:
            await self.run_action(action.call)
        elif isawaitable(done := takes_argument(argument)):
            await done

    def action_begin_command(self, name: str) -> None:
        """Put a command into the box that waits for its argument."""
        self._composer.write(f"/{name} ")
        self._composer.focus()

    # ---- commands that take something

    def slash_rename(self, title: str) -> None:
        """Give the conversation a title."""
        if not self.conversation.turns:
            self.hint("There is nothing to name yet.")
            return
        self.conversation.name = " ".join(title.split())
        self._store.keep(self.conversation)
        self.hint(f"This conversation is “{self.conversation.title}” now.")

    def action_export(self) -> None:
        """Write the conversation into the folder where the chat was started."""
        self.slash_export("")

    def slash_export(self, path: str) -> None:
        """Write the conversation to `path`; a folder, or nothing for the present one, gets a name from the title."""
        if not self.conversation.turns:
            self.hint("There is nothing to export yet.")
            return
        target = Path(path).expanduser() if path else Path.cwd()
        try:
            target = export_path(target, self.conversation) if target.is_dir() else target
            self.hint(f"Written: {export(self.conversation, target)}", _LONG_HINT_SECONDS)
        except (DsparkError, OSError) as error:
            self.hint(str(error), _LONG_HINT_SECONDS)

    def slash_import(self, path: str) -> None:
        """Take in every conversation of a file."""
        try:
            read = read_conversations(Path(path).expanduser())
            for conversation in read.conversations:
                self._store.save(conversation)
        except (DsparkError, OSError, ValueError, sqlite3.Error) as error:
            self.hint(str(error), _LONG_HINT_SECONDS)
            return
        count = len(read.conversations)
        self.hint(f"Imported {count:,} {'conversation' if count == 1 else 'conversations'}.", _LONG_HINT_SECONDS)

    def slash_theme(self, name: str) -> None:
        """Take this theme, or choose one from the list."""
        if not name:
            self.app.action_change_theme()
        elif name in self.app.available_themes:
            self.keep_theme(name)
        else:
            self.hint(self._no_theme(name), _LONG_HINT_SECONDS)

    def _no_theme(self, name: str) -> str:
        near = get_close_matches(name, self.app.available_themes, 1)
        return f"There is no theme {name}. {f'Did you mean {near[0]}?' if near else '/theme alone lists them.'}"

    def keep_theme(self, name: str) -> None:
        """Take a theme and write it into chat.toml."""
        self.kept_theme = self.app.theme = name
        self._save({"theme": name})

    def _save(self, changes: dict[str, object]) -> None:
        try:
            save_settings(changes)
        except (DsparkError, OSError) as error:
            self.hint(str(error), _LONG_HINT_SECONDS)

    # ---- the editor

    @work(exclusive=True, group="editor")
    async def action_editor(self) -> None:
        """Write the prompt in the person's editor; it comes back into the box."""
        if (text := await self._edited(self._composer.text, ".md")) is not None:
            self._composer.write(text.rstrip("\n"))
        self._composer.focus()

    @work(exclusive=True, group="editor")
    async def action_settings(self) -> None:
        """Open chat.toml, made from the example where there is none, and follow what it says afterwards."""
        try:
            path = settings_path()
            if not path.exists():
                write_atomically(path, example())
            await edit_file(self.app, path)
        except (DsparkError, OSError) as error:
            self.hint(str(error), _LONG_HINT_SECONDS)
            return
        await self.follow(load_settings())

    async def _edited(self, text: str, suffix: str) -> str | None:
        try:
            return await edit_text(self.app, text, suffix)
        except (DsparkError, OSError, UnicodeDecodeError) as error:
            self.hint(str(error), _LONG_HINT_SECONDS)
            return None

    # ---- what chat.toml says

    async def follow(self, file: ChatFile) -> None:
        """Take theme and keys from the file, and say what in it is wrong."""
        self._settings = replace(self._settings, file=file)
        self.keys = keymap(file.keymap)
        self.app.set_keymap(self.keys.for_textual())
        for welcome in self.query(Welcome):
            welcome.tell_keys(self.keys)
        problems = [*file.problems, *self.keys.problems]
        if file.theme in self.app.available_themes:
            self.app.theme = file.theme
        elif file.theme:
            problems.append(f"theme: {self._no_theme(file.theme)}")
        self.kept_theme = self.app.theme
        await self.query(SettingsNotice).remove()
        if problems:
            await self._above_box.mount(SettingsNotice(problems))

    def how_to_reach(self, action: Action) -> str:
        """Its keys and its command, such as `Ctrl+N · /new`."""
        return " · ".join(filter(None, (self.keys.label(action.id), usage(action) if action.slash else "")))

    def action_help(self) -> None:
        """All keys and commands."""
        self.app.push_screen(HelpScreen(self.keys))
