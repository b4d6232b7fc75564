"""What transformers computes for the Qwen cases: python make_qwen.py (from tests/data, transformers 5, torch 2.15).

`qwen/model.safetensors` and the ids come from make_reference.py. Its logits were computed after a
round trip of the model through float16, which rounds the rotary frequencies too (they are a
buffer); loaded from disk, transformers itself differs from those logits by 1.1e-4 at the last
position. So logits and greedy tokens are computed here from the files, as a user would.
"""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.logits_process import (RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
                                                    TopKLogitsWarper, TopPLogitsWarper)

HERE = Path(__file__).parent / "qwen"
MICRO = Path(__file__).parents[2] / "assets/micro/qwen"
torch.set_grad_enabled(False)


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def language_model():
    model = AutoModelForCausalLM.from_pretrained(HERE, dtype=torch.float32, attn_implementation="eager")
    ids = load_file(HERE / "lm.safetensors")["ids"]
    tokens = ids
    for _ in range(24):
        tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], 1)
    save_file({"ids": ids, "logits": model(ids).logits.contiguous(), "greedy": tokens[:, ids.shape[1]:].contiguous()},
              HERE / "lm.safetensors")


# Written for this test with the constructs that templates of the Qwen family use.
TEMPLATE = '''{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nBe of use.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(turns=0) %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {%- set ns.turns = ns.turns + 1 %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content.strip() + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
    {%- elif message.role not in ["system", "assistant"] %}
        {{- raise_exception("unknown role " ~ message.role) }}
    {%- endif %}
    {%- if ns.turns > 100 %}{% break %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
'''
CONVERSATIONS = [
 [{"role":"user","content":"red circle"}],
 [{"role":"system","content":"Enhance the user's image prompt."},{"role":"user","content":"red circle"}],
 [{"role":"user","content":"Hello"},{"role":"assistant","content":"Hello! Ask me for a shape."},{"role":"user","content":"What shapes do you know?"}],
 [{"role":"system","content":"Be brief.\nTwo lines."},{"role":"user","content":"a  b\n\n c"},{"role":"assistant","content":" x "},{"role":"user","content":"\u00fcn\u00efc\u00f6de \U0001f600 <b>&amp;</b> \"quotes\" it's {{ x }} {% y %}"},{"role":"assistant","content":"ok"},{"role":"user","content":"last"}],
]


def chat_template(tokenizer):
    cases = []
    for messages in CONVERSATIONS:
        render = lambda **k: tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **k)
        micro = render()
        cases.append({"messages": messages, "micro": micro, "micro_ids": tokenizer.encode(micro, add_special_tokens=False),
                      "own": render(chat_template=TEMPLATE)})
    write("chat_template.json", {"template": TEMPLATE, "cases": cases})


def sampling():
    """Rows of the logits times 6 through generate's processors; `kept`: the tokens left and their softmax, best first."""
    lm, cases = load_file(HERE / "lm.safetensors"), []
    for row, (temperature, top_p, top_k, penalty) in [(36, (0.7, 0.9, 20, 1.1)), (20, (1.0, 0.5, 0, 1.0)), (5, (0.3, 0.95, 50, 1.3)),
                                                      (7, (1.5, 1.0, 5, 1.0)), (9, (2.0, 0.999, 0, 0.8)), (11, (0.7, 0.01, 0, 1.05))]:
        ids, scores = lm["ids"][:, :row + 1], lm["logits"][0, row:row + 1] * 6
        scores = RepetitionPenaltyLogitsProcessor(penalty)(ids, scores)
        scores = TemperatureLogitsWarper(temperature)(ids, scores)
        if top_k:
            scores = TopKLogitsWarper(top_k)(ids, scores)
        if top_p < 1:
            scores = TopPLogitsWarper(top_p)(ids, scores)
        p = scores.softmax(-1)[0]
        kept = [[int(i), float(p[i])] for i in p.argsort(descending=True, stable=True) if torch.isfinite(scores[0, i])]
        cases.append({"row": row, "temperature": temperature, "top_p": top_p, "top_k": top_k, "repetition_penalty": penalty, "kept": kept})
    (HERE / "sampling.json").write_text(json.dumps({"cases": cases}) + "\n")


IMAGE, VIDEO = "Enhance the user's image prompt.", "Enhance the user's video prompt."


def micro_answers(tokenizer):
    model, cases = AutoModelForCausalLM.from_pretrained(MICRO, dtype=torch.float32), []
    for system, prompt in [(IMAGE, "red circle"), (IMAGE, "a large blue star on the left, black background"), (VIDEO, "green square moving right"),
                           (IMAGE, "a yellow heart above a purple ring"), (VIDEO, "a cyan triangle growing on navy")]:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        x = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        y = model.generate(**x, max_new_tokens=90, do_sample=False, repetition_penalty=1.0)[0, x["input_ids"].shape[1]:]
        assert int(y[-1]) == tokenizer.convert_tokens_to_ids("<|im_end|>")
        cases.append({"system": system, "prompt": prompt, "answer": tokenizer.decode(y, skip_special_tokens=True), "tokens": len(y) - 1})
    write("micro_answers.json", {"cases": cases})


if __name__ == "__main__":
    language_model()
    tokenizer = AutoTokenizer.from_pretrained(MICRO)
    chat_template(tokenizer)
    sampling()
    micro_answers(tokenizer)
