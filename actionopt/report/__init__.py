"""The whole trip: check, flow, action, contraction, figures and one page, in a folder that resumes."""
